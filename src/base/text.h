// Lists in settings and files; words that many sentences share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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
// A number or two that ascend, as in lists of cores: "7" is (7, 7), "3-7" is (3, 7). Nothing if neither.
std::optional<std::pair<uint32_t, uint32_t>> range_of(std::string_view text);
// For errors and the log: `what`, and which communicator it is about, where that has a name:
// "comityAllReduce, communicator \"trainer\"".
std::string about_communicator(std::string_view what, std::string_view name);

}  // namespace comity
