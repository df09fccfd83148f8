// Files read whole, through a descriptor of ours (a std::ifstream's may be 0, 1 or 2).
#pragma once

#include <cstddef>
#include <string>

#include "comity/plugin/result.h"

namespace comity {

inline constexpr size_t kLongestFile = size_t{64} << 20;

// The content of a file, a pipe or an entry of /proc or /sys. Blocks as reading it does. kSystemError names
// the path and the cause; a directory, and more than `limit` bytes, are errors too.
Result<std::string> read_file(const std::string& path, size_t limit = kLongestFile);
// The same of an open file, from where its descriptor stands; `path` is for messages.
Result<std::string> read_open_file(int fd, const std::string& path, size_t limit = kLongestFile);
// The first `limit` bytes of it; empty if it cannot be read, or what came before a read was refused.
std::string read_beginning(const std::string& path, size_t limit);
// The first line without its end; empty if the file cannot be read. For what the kernel says in one word.
std::string first_line_of(const std::string& path);

}  // namespace comity
