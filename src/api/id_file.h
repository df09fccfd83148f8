// A unique id passed through a file or a command line, for programs whose ranks are started from outside.
#pragma once

#include <string>

#include "comity/comity.h"
#include "comity/plugin/result.h"

namespace comity::api {

// The 256 hexadecimal digits of an id, and back. kInvalidArgument.
std::string hex_of(const comityUniqueId& id);
Result<comityUniqueId> id_from_hex(const std::string& hex);

// Leaves the id in a file that appears whole or not at all, readable by its owner alone. kSystemError, also
// if the file is there already: an old one would send the other ranks to a meeting that is over.
Status write_id_file(const std::string& path, const comityUniqueId& id);
// Waits at most 60 s for that file.
Result<comityUniqueId> await_id_file(const std::string& path);

}  // namespace comity::api
