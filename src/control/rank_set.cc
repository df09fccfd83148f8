#include "src/control/rank_set.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

namespace comity::control {

bool RankSet::add(uint32_t first, uint32_t count) {
  if (count == 0) return false;
  uint32_t last = first + count - 1;
  auto at = ranges_.upper_bound(first);
  if (at != ranges_.begin()) {
    const auto before = std::prev(at);
    if (before->second >= last) return false;
    if (uint64_t{before->second} + 1 >= first) {
      first = before->first;
      at = before;
    }
  }
  while (at != ranges_.end() && at->first <= uint64_t{last} + 1) {
    last = std::max(last, at->second);
    at = ranges_.erase(at);
  }
  ranges_[first] = last;
  return true;
}

bool RankSet::add(const RankSet& other) {
  bool changed = false;
  for (const auto& range : other.ranges_) changed |= add(range.first, range.second - range.first + 1);
  return changed;
}

void RankSet::remove(uint32_t rank) {
  auto at = ranges_.upper_bound(rank);
  if (at == ranges_.begin()) return;
  --at;
  const auto [first, last] = *at;
  if (last < rank) return;
  ranges_.erase(at);
  if (first < rank) ranges_[first] = rank - 1;
  if (rank < last) ranges_[rank + 1] = last;
}

bool RankSet::contains(uint32_t rank) const {
  const auto after = ranges_.upper_bound(rank);
  return after != ranges_.begin() && std::prev(after)->second >= rank;
}

uint64_t RankSet::size() const {
  uint64_t count = 0;
  for (const auto& range : ranges_) count += uint64_t{range.second} - range.first + 1;
  return count;
}

uint32_t RankSet::next_absent(uint32_t from) const {
  const auto after = ranges_.upper_bound(from);
  if (after == ranges_.begin() || std::prev(after)->second < from) return from;
  return std::prev(after)->second + 1;
}

RankSet RankSet::without(const RankSet& other) const {
  RankSet left;
  for (const auto& range : ranges_) {
    uint64_t first = range.first;
    while (first <= range.second) {
      const auto after = other.ranges_.upper_bound(static_cast<uint32_t>(first));
      if (after != other.ranges_.begin() && std::prev(after)->second >= first) {
        first = uint64_t{std::prev(after)->second} + 1;
        continue;
      }
      const uint64_t end = after == other.ranges_.end() ? uint64_t{range.second} + 1
                                                        : std::min<uint64_t>(after->first, range.second + 1);
      left.ranges_[static_cast<uint32_t>(first)] = static_cast<uint32_t>(end - 1);
      first = end;
    }
  }
  return left;
}

std::string RankSet::text() const {
  constexpr int kMaxRanges = 16;
  std::string text;
  int ranges = 0;
  uint64_t unlisted = 0;
  for (const auto& [first, last] : ranges_) {
    if (ranges++ >= kMaxRanges) {
      unlisted += uint64_t{last} - first + 1;
      continue;
    }
    text += text.empty() ? "" : ", ";
    text += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
  }
  return unlisted == 0 ? text : fmt::format("{} and {} more", text, unlisted);
}

void RankSet::encode(ByteWriter& writer) const {
  writer.put(static_cast<uint32_t>(ranges_.size()));
  for (const auto& range : ranges_) writer.put(range.first).put(range.second);
}

std::optional<RankSet> RankSet::decode(ByteReader& reader, uint32_t limit) {
  RankSet set;
  const auto count = reader.get<uint32_t>();
  uint64_t least = 0;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    const auto first = reader.get<uint32_t>();
    const auto last = reader.get<uint32_t>();
    if (!reader.ok() || first < least || last < first || last >= limit) return std::nullopt;
    set.ranges_[first] = last;
    least = uint64_t{last} + 2;
  }
  return reader.ok() ? std::optional(std::move(set)) : std::nullopt;
}

}  // namespace comity::control
