// Lines and words of text that people paste. Internal to the importers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::topology {

struct TextLine {
  size_t number = 0;  // from 1
  std::string text;   // without ANSI escapes, carriage return and marks of quoting
  bool ended = true;  // by a line break; the last line of a text that was cut off is not
  std::vector<std::string> words() const;
};

// kInvalidArgument for more than 64 MiB or a line of more than 64 KiB.
Result<std::vector<TextLine>> lines_of(std::string_view text, const std::string& origin);
// kInvalidArgument "<origin>:<line>: <reason>".
Status bad_line(const std::string& origin, size_t line, const std::string& reason);

}  // namespace comity::topology
