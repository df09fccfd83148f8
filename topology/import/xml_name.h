// Names of XML elements and attributes as far as the project keeps and writes them. Internal to importers and
// exporters.
#pragma once

#include <algorithm>
#include <string_view>

namespace comity::topology {

// ASCII alone and without a colon; XML allows more.
inline bool is_plain_xml_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto more = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), more);
}

}  // namespace comity::topology
