// Lists in settings and files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace comity {

// Without spaces and tabs at both ends.
std::string_view trimmed(std::string_view text);
// What stands between separators, trimmed; empty items too, but an empty text has none. They point into
// `text`.
std::vector<std::string_view> split(std::string_view text, char separator = ',');
std::vector<std::string_view> split(std::string&& text, char separator = ',') = delete;  // they would dangle
// The same without empty items.
std::vector<std::string_view> split_list(std::string_view text, char separator = ',');
std::vector<std::string_view> split_list(std::string&& text, char separator = ',') = delete;

}  // namespace comity
