#include "src/plan/values.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "src/base/hash.h"
#include "src/plan/balanced.h"

namespace comity::plan {
ValueTable::ValueTable(uint32_t ranks) : ranks_(ranks), words_(ranks / 64 + 1) {
  Value undefined;
  undefined.undefined = true;
  add(undefined);
}

ValueId ValueTable::add(const Value& value) {
  values_.push_back(value);
  bits_.resize(bits_.size() + words_, 0);
  return static_cast<ValueId>(values_.size() - 1);
}

namespace {

uint64_t leaf_expression(uint32_t rank, uint32_t block, uint32_t chunk) {
  return mix(mix(mix(1, rank), block), chunk);
}

uint64_t fold_expression(bool last, size_t sources) {
  return mix(last ? 3 : 2, sources);
}

struct Tree {
  uint32_t block, chunk;
  uint64_t expression(uint32_t begin, uint32_t end, bool last) const {
    if (end - begin == 1) return leaf_expression(begin, block, chunk);
    const uint32_t middle = begin + balanced_split(end - begin);
    const uint64_t left = mix(fold_expression(last, 2), expression(begin, middle, false));
    return mix(left, expression(middle, end, false));
  }
};

}  // namespace

uint64_t ValueTable::balanced_expression(uint32_t block, uint32_t chunk) const {
  return Tree{block, chunk}.expression(0, ranks_, true);
}

ValueId ValueTable::leaf(uint32_t rank, uint32_t block, uint32_t chunk, uint32_t tile) {
  Value value;
  value.expression = leaf_expression(rank, block, chunk);
  value.tile = tile;
  value.block = block;
  value.rank = rank;
  const ValueId id = add(value);
  words(id)[rank / 64] |= uint64_t{1} << (rank % 64);
  return id;
}

ValueId ValueTable::fold(std::span<const ValueId> sources, bool last, const Maker& maker) {
  if (sources.size() == 1 && !last) return sources[0];
  Value value = values_[sources[0]];
  value.rank = maker.rank;
  value.lane = maker.lane;
  value.step = maker.step;
  value.expression = fold_expression(last, sources.size());
  const ValueId id = add(value);
  for (size_t i = 0; i < sources.size(); ++i) {
    const Value& source = values_[sources[i]];
    Value& result = values_[id];
    result.expression = mix(result.expression, source.expression);
    result.undefined |= source.undefined;
    result.duplicate |= source.duplicate;
    result.mixed |= source.mixed || source.block != result.block || source.tile != result.tile;
    result.wrongly_divided |= source.wrongly_divided || source.divided;
    result.divided |= source.divided;
    for (uint32_t word = 0; word < words_; ++word) {
      result.duplicate |= (words(id)[word] & words(sources[i])[word]) != 0;
      words(id)[word] |= words(sources[i])[word];
    }
  }
  Value& result = values_[id];
  if (last) {
    result.wrongly_divided |= !complete(id) || result.duplicate;
    result.divided = true;
  }
  return id;
}

uint32_t ValueTable::count(ValueId id) const {
  uint32_t sum = 0;
  for (uint32_t word = 0; word < words_; ++word) sum += static_cast<uint32_t>(std::popcount(words(id)[word]));
  return sum;
}

uint32_t ValueTable::first_missing(ValueId id) const {
  uint32_t rank = 0;
  while (rank < ranks_ && has(id, rank)) ++rank;
  return rank;
}

std::string ValueTable::describe(ValueId id) const {
  const Value& value = values_[id];
  if (value.undefined) return count(id) == 0 ? "undefined content" : "partly undefined content";
  constexpr uint32_t kMost = 8;
  std::string text;
  uint32_t shown = 0;
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    if (!has(id, rank)) continue;
    if (++shown <= kMost) text += fmt::format("{}{}", text.empty() ? "" : ", ", rank);
  }
  if (shown > kMost) text += fmt::format(" and {} more", shown - kMost);
  return fmt::format("block {} of rank{} {}{}", value.block, shown == 1 ? "" : "s", text,
                     value.mixed ? " mixed with other blocks or tiles" : "");
}

}  // namespace comity::plan
