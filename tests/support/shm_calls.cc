#include "tests/support/shm_calls.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "src/base/hash.h"
#include "src/device/host/arena.h"

namespace comity::test {
namespace {

constexpr uint64_t kGuard = 128;
constexpr std::byte kGuardByte{0xa5};

bool has_input(const Row& row, uint32_t rank) {
  return row.collective != Collective::kBarrier && (!gives_from_root(row.collective) || rank == row.root);
}

}  // namespace

std::string name_of(BufferKind kind) {
  return kind == BufferKind::kPlain ? "plain" : kind == BufferKind::kRegistered ? "registered" : "scattered";
}

uint64_t signature_of(const Row& row, uint64_t number) {
  uint64_t hash = mix(number);
  for (const uint64_t part :
       {uint64_t(row.collective), uint64_t(row.type), uint64_t(row.op), row.count, uint64_t(row.root)}) {
    hash = mix(hash ^ part);
  }
  return hash;
}

CallBuffers::CallBuffers(const Row& row, uint32_t rank, BufferKind kind)
    : row_(row), rank_(rank), kind_(kind) {
  const uint64_t element = size_of(row.type);
  const uint64_t block = row.count * element;
  const bool gather = has_output_blocks(row.collective) && has_output(row, rank);
  const bool scatter = has_input_blocks(row.collective) && has_input(row, rank);
  const bool in_place = row.in_place && has_input(row, rank) && has_output(row, rank) && gather != scatter;
  const bool same = row.in_place && !has_input_blocks(row.collective) && !has_output_blocks(row.collective);
  const auto make_blocks = [&](bool several) {
    std::vector<std::byte*> blocks;
    const uint32_t count = several ? row.nranks : 1;
    std::byte* whole = kind == BufferKind::kScattered ? nullptr : allocate(block * count);
    for (uint32_t j = 0; j < count; ++j)
      blocks.push_back(whole != nullptr ? whole + j * block : allocate(block));
    return blocks;
  };
  std::vector<std::byte*> in = make_blocks(scatter);
  std::vector<std::byte*> out = in;
  if (!in_place && !same) {
    out = make_blocks(gather);
  } else if (gather) {
    out = make_blocks(true);
    in = {out[rank]};
  } else if (scatter) {
    out = {in[rank]};
  }
  if (has_input(row, rank)) {
    std::vector<std::byte> input(input_count(row) * element);
    fill_input(row, rank, input.data());
    for (size_t j = 0; j < in.size() && block != 0; ++j) std::memcpy(in[j], input.data() + j * block, block);
    cut(in, block, src_);
  }
  if (has_output(row, rank) && row.collective != Collective::kBarrier) cut(out, block, dst_);
  call_.collective = row.collective;
  call_.type = row.type;
  call_.op = row.op;
  call_.root = row.root;
  call_.divisor = row.op == RedOp::kAvg ? row.nranks : 0;
  call_.src = src_;
  call_.dst = dst_;
}

CallBuffers::~CallBuffers() {
  for (std::byte* memory : registered_) static_cast<void>(ArenaPool::instance().release(memory));
}

void CallBuffers::cut(const std::vector<std::byte*>& blocks, uint64_t bytes,
                      std::vector<Piece>& pieces) const {
  for (std::byte* block : blocks) pieces.push_back(Piece{block, bytes});
}

std::byte* CallBuffers::allocate(uint64_t bytes) {
  const uint64_t whole = bytes + 2 * kGuard;
  std::byte* memory = nullptr;
  if (kind_ == BufferKind::kRegistered) {
    auto made = ArenaPool::instance().allocate(whole);
    if (!made.ok()) std::abort();
    memory = static_cast<std::byte*>(made.value());
    registered_.push_back(memory);
  } else {
    plain_.emplace_back(whole + 64);
    memory = plain_.back().data() + size_of(row_.type);
  }
  std::fill_n(memory, whole, kGuardByte);
  guarded_.emplace_back(memory, whole);
  return memory + kGuard;
}

std::string CallBuffers::check() const {
  for (const auto& [memory, whole] : guarded_) {
    for (uint64_t i = 0; i < kGuard; ++i) {
      if (memory[i] != kGuardByte || memory[whole - 1 - i] != kGuardByte)
        return "bytes around a buffer were written";
    }
  }
  if (dst_.empty()) return {};
  const uint64_t block = row_.count * size_of(row_.type);
  std::vector<std::byte> want(block * dst_.size());
  fill_expected(row_, rank_, want.data());
  for (size_t j = 0; j < dst_.size(); ++j) {
    for (uint64_t i = 0; i < block; ++i) {
      if (dst_[j].data[i] == want[j * block + i]) continue;
      return fmt::format("block {}, byte {} of {} is {:#x} instead of {:#x}", j, i, block,
                         static_cast<unsigned>(dst_[j].data[i]), static_cast<unsigned>(want[j * block + i]));
    }
  }
  return {};
}

}  // namespace comity::test
