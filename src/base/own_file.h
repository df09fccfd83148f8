// Files of this user alone in the user's cache folder: read with care, replaced in one step.
#pragma once

#include <string>

#include "comity/plugin/result.h"

namespace comity {

// `chosen` if not empty, else $XDG_CACHE_HOME/comity, else ~/.cache/comity; kInvalidUsage: neither variable
// is set.
Result<std::string> cache_folder(const std::string& chosen);

// The content; empty where there is no such file, or it is a link, another user's, or longer than 64 MiB.
std::string read_own_file(const std::string& path);

// Makes the folder if need be and replaces folder/name, mode 0600, so that readers see the old or the new.
// kSystemError says what refused.
Status write_own_file(const std::string& folder, const std::string& name, const std::string& text);

}  // namespace comity
