#include "src/base/text.h"

#include <algorithm>
#include <charconv>
#include <system_error>

namespace comity {

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> items;
  for (size_t at = 0; !text.empty() && at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    items.push_back(trimmed(text.substr(at, end - at)));
    at = end + 1;
  }
  return items;
}

std::vector<std::string_view> split_list(std::string_view text, char separator) {
  std::vector<std::string_view> items = split(text, separator);
  std::erase_if(items, [](std::string_view item) { return item.empty(); });
  return items;
}

std::optional<std::pair<uint32_t, uint32_t>> range_of(std::string_view text) {
  uint32_t first = 0;
  const char* const end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, first);
  uint32_t last = first;
  if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-')
    read = std::from_chars(read.ptr + 1, end, last);
  if (read.ec != std::errc() || read.ptr != end || first > last) return std::nullopt;
  return std::pair(first, last);
}

std::string about_communicator(std::string_view what, std::string_view name) {
  std::string text(what);
  if (!name.empty()) text.append(", communicator \"").append(name).append("\"");
  return text;
}

}  // namespace comity
