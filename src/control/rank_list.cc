#include "src/control/rank_list.h"

#include <fmt/core.h>

namespace comity::control {

std::string list_absent(const std::vector<bool>& present) {
  constexpr int kMaxRanges = 16;
  std::string text;
  int ranges = 0;
  size_t unlisted = 0;
  for (size_t first = 0; first < present.size(); ++first) {
    if (present[first]) continue;
    size_t last = first;
    while (last + 1 < present.size() && !present[last + 1]) ++last;
    if (ranges++ < kMaxRanges) {
      text += text.empty() ? "" : ", ";
      text += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
    } else {
      unlisted += last - first + 1;
    }
    first = last;
  }
  return unlisted == 0 ? text : fmt::format("{} and {} more", text, unlisted);
}

}  // namespace comity::control
