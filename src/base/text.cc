#include "src/base/text.h"

#include <algorithm>

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

}  // namespace comity
