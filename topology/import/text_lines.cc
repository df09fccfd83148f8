#include "topology/import/text_lines.h"

#include <fmt/format.h>

#include <algorithm>

namespace comity::topology {

namespace {

constexpr size_t kMostBytes = size_t{64} << 20;
constexpr size_t kMostLine = size_t{64} << 10;

// Without marks of quoting ("> "), as mails have them.
std::string unquoted(std::string text) {
  size_t begin = 0;
  for (size_t at = 0; (at = text.find_first_not_of(" \t", at)) != std::string::npos && text[at] == '>'; ++at)
    begin = at + 1;
  return begin == 0 ? text : text.substr(begin + (begin < text.size() && text[begin] == ' ' ? 1 : 0));
}

// Escape sequences, also those that lost their escape character on the way through a clipboard: "[4m".
std::string plain(std::string_view line) {
  std::string text;
  for (size_t at = 0; at < line.size(); ++at) {
    const bool escape = line[at] == '\x1b';
    const size_t bracket = escape ? at + 1 : at;
    if (bracket < line.size() && line[bracket] == '[') {
      const size_t end = line.find_first_not_of("0123456789;", bracket + 1);
      if (end != std::string_view::npos && (escape || (line[end] == 'm' && end > bracket))) {
        if (escape ? (line[end] >= '@' && line[end] <= '~') : true) {
          at = end;
          continue;
        }
      }
    }
    // Blanks of web pages that do not break (U+00A0), and an editor's byte order mark, are blanks.
    const size_t odd = line.substr(at, 2) == "\xc2\xa0" ? 2 : line.substr(at, 3) == "\xef\xbb\xbf" ? 3 : 0;
    if (!escape && line[at] != '\r') text += odd > 0 ? ' ' : line[at];
    at += odd > 0 ? odd - 1 : 0;
  }
  return unquoted(text);
}

}  // namespace

Status bad_line(const std::string& origin, size_t line, const std::string& reason) {
  return {Code::kInvalidArgument, fmt::format("{}:{}: {}", origin, line, reason)};
}

std::vector<std::string> TextLine::words() const {
  std::vector<std::string> found;
  size_t at = 0;
  while ((at = text.find_first_not_of(" \t", at)) != std::string::npos) {
    const size_t end = std::min(text.find_first_of(" \t", at), text.size());
    found.push_back(text.substr(at, end - at));
    at = end;
  }
  return found;
}

Result<std::vector<TextLine>> lines_of(std::string_view text, const std::string& origin) {
  if (text.size() > kMostBytes) return bad_line(origin, 1, "more than 64 MiB is no topology");
  std::vector<TextLine> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const bool ended = line.size() < text.size();
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t number = lines.size() + 1;
    if (line.size() > kMostLine) return bad_line(origin, number, "a line of more than 64 KiB");
    if (line.find('\0') != std::string_view::npos)
      return bad_line(origin, number, "a byte of 0: this is no text");
    lines.push_back({number, plain(line), ended});
  }
  return lines;
}

}  // namespace comity::topology
