#include "tests/support/varying_calls.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

#include "src/base/hash.h"
#include "src/device/host/arena.h"

namespace comity::test {
namespace {

constexpr std::byte kUntouched{0xa5};
constexpr uint64_t kMargin = 64;  // before the first and after the last block

}  // namespace

PairLengthsOf random_lengths(uint32_t nranks, uint64_t longest, std::mt19937_64& random) {
  PairLengthsOf lengths(nranks, std::vector<uint64_t>(nranks));
  const uint64_t choices[] = {0, 0, 1, 7, 97, 8191, 8192, longest / 64 + 1, longest / 3, longest};
  for (auto& row : lengths) {
    for (uint64_t& bytes : row) bytes = std::min(longest, choices[random() % std::size(choices)]);
  }
  return lengths;
}

VaryingBuffers::VaryingBuffers(const VaryingRow& row, uint32_t rank) : row_(row), rank_(rank) {
  const auto nranks = static_cast<uint32_t>(row.lengths.size());
  const bool root = rank == row.root;
  std::vector<uint64_t> gives, takes;
  for (uint32_t k = 0; k < nranks; ++k) {
    const bool whole = row.collective == Collective::kAllToAllV || root;
    if (has_input_blocks(row.collective) && whole) gives.push_back(row.lengths[rank][k]);
    if (has_output_blocks(row.collective) && whole) takes.push_back(row.lengths[k][rank]);
  }
  if (row.collective == Collective::kGatherV) gives = {row.lengths[rank][row.root]};
  if (row.collective == Collective::kScatterV) takes = {row.lengths[row.root][rank]};
  src_ = allocate(gives);
  dst_ = allocate(takes);
  if (row.in_place && root && row.collective == Collective::kGatherV) src_[0] = dst_[rank];
  if (row.in_place && root && row.collective == Collective::kScatterV) dst_[0] = src_[rank];
  for (uint32_t i = 0; i < src_.size(); ++i) {
    const uint32_t to = src_.size() == 1 && row.collective == Collective::kGatherV ? row.root : i;
    for (uint64_t byte = 0; byte < src_[i].bytes; ++byte) src_[i].data[byte] = content(rank, to, byte);
  }
  call_.collective = row.collective;
  call_.root = row.root;
  call_.signature = mix(row.number ^ uint64_t{row.root} << 32 ^ static_cast<uint64_t>(row.collective) << 48);
  call_.src = src_;
  call_.dst = dst_;
}

VaryingBuffers::~VaryingBuffers() {
  if (!row_.registered) return;
  for (const auto& [memory, bytes] : memory_) static_cast<void>(ArenaPool::instance().release(memory));
}

std::vector<Piece> VaryingBuffers::allocate(const std::vector<uint64_t>& lengths) {
  if (lengths.empty()) return {};
  uint64_t bytes = 2 * kMargin;
  for (const uint64_t length : lengths) bytes += length + row_.gap;
  std::byte* memory = nullptr;
  if (row_.registered) {
    auto made = ArenaPool::instance().allocate(bytes);
    if (!made.ok()) std::abort();
    memory = static_cast<std::byte*>(*made);
  } else {
    memory = plain_.emplace_back(bytes).data();
  }
  std::fill_n(memory, bytes, kUntouched);
  memory_.emplace_back(memory, bytes);
  std::vector<Piece> blocks;
  std::byte* at = memory + kMargin;
  for (const uint64_t length : lengths) {
    blocks.push_back({at, length});
    at += length + row_.gap;
  }
  return blocks;
}

std::byte VaryingBuffers::content(uint32_t from, uint32_t to, uint64_t i) const {
  return static_cast<std::byte>(row_.number * 31 + from * 7 + to * 13 + i + (i >> 8) + (i >> 16) * 3);
}

std::string VaryingBuffers::wrong() const {
  for (uint32_t i = 0; i < dst_.size(); ++i) {
    const bool one = dst_.size() == 1 && row_.collective == Collective::kScatterV;
    const uint32_t from = one ? row_.root : i;
    for (uint64_t byte = 0; byte < dst_[i].bytes; ++byte) {
      if (dst_[i].data[byte] != content(from, rank_, byte))
        return fmt::format("byte {} of {} from {} to {}", byte, dst_[i].bytes, from, rank_);
    }
  }
  for (const auto& [memory, bytes] : memory_) {
    for (uint64_t i = 0; i < kMargin; ++i) {
      if (memory[i] != kUntouched || memory[bytes - 1 - i] != kUntouched) return "bytes around the blocks";
    }
  }
  for (const auto* pieces : {&src_, &dst_}) {
    for (size_t i = 0; row_.gap != 0 && pieces->size() > 1 && i < pieces->size(); ++i) {
      const std::byte* end = (*pieces)[i].data + (*pieces)[i].bytes;
      if (std::any_of(end, end + row_.gap, [](std::byte b) { return b != kUntouched; }))
        return fmt::format("bytes behind block {}", i);
    }
  }
  return {};
}

}  // namespace comity::test
