#include "tests/collectives/balanced_rows.h"

#include <fmt/core.h>

#include <bit>
#include <cstring>
#include <memory>

#include "src/base/hash.h"
#include "tests/support/reduce_reference.h"

namespace comity::test {
namespace {

struct Format {
  int mantissa_bits, bias;
};

Format format_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return {10, 15};
    case DataType::kBfloat16:
      return {7, 127};
    case DataType::kFloat8e4m3:
      return {3, 7};
    case DataType::kFloat8e5m2:
      return {2, 15};
    case DataType::kFloat32:
      return {23, 127};
    default:
      return {52, 1023};
  }
}

// Any integer; a float of either sign from 2^-4 to 2^4.
uint64_t number(DataType type, uint32_t rank, uint64_t i) {
  const uint64_t random = mix(mix(i, 77), rank);
  const size_t bits = 8 * size_of(type);
  if (!is_floating(type)) return bits == 64 ? random : random & ((uint64_t{1} << bits) - 1);
  const auto [mantissa_bits, bias] = format_of(type);
  const uint64_t mantissa = mix(random) & ((uint64_t{1} << mantissa_bits) - 1);
  const auto exponent = static_cast<uint64_t>(bias - 4 + static_cast<int>(random % 8));
  return (random >> 40 & 1) << (bits - 1) | exponent << mantissa_bits | mantissa;
}

// The type in which nodes are kept, and a number in it.
DataType kept_as(DataType type) {
  return is_narrow_float(type) ? DataType::kFloat32 : type;
}

uint64_t widened(DataType type, uint64_t bits) {
  if (!is_narrow_float(type)) return bits;
  return std::bit_cast<uint32_t>(static_cast<float>(value_of(type, bits)));
}

class Fold {
 public:
  Fold(DataType type, RedOp op) : kept_(kept_as(type)), op_(op == RedOp::kAvg ? RedOp::kSum : op) {}

  uint64_t pair(uint64_t left, uint64_t right, uint32_t divisor) const {
    const uint64_t operands[] = {left, right};
    return reduce_reference(kept_, op_, operands, divisor);
  }
  // Split at the largest power of two below the count, the lower half first.
  uint64_t tree(const std::vector<uint64_t>& leaves, size_t begin, size_t end, uint32_t divisor) const {
    if (end - begin == 1) return leaves[begin];
    size_t lower = 1;
    while (2 * lower < end - begin) lower *= 2;
    return pair(tree(leaves, begin, begin + lower, 0), tree(leaves, begin + lower, end, 0), divisor);
  }
  uint64_t from_left(const std::vector<uint64_t>& leaves, uint32_t divisor) const {
    uint64_t value = leaves[0];
    for (size_t i = 1; i < leaves.size(); ++i)
      value = pair(value, leaves[i], i + 1 == leaves.size() ? divisor : 0);
    return value;
  }

 private:
  DataType kept_;
  RedOp op_;
};

comityResult_t reduce(Collective collective, const BalancedCase& numbers, const std::byte* in, std::byte* out,
                      uint64_t count, int root, comityComm_t comm) {
  const auto type = static_cast<comityDataType_t>(numbers.type);
  const auto op = static_cast<comityRedOp_t>(numbers.op);
  switch (collective) {
    case Collective::kAllReduce:
      return comityAllReduce(in, out, count, type, op, comm, nullptr);
    case Collective::kReduce:
      return comityReduce(in, out, count, type, op, root, comm, nullptr);
    default:
      return comityReduceScatter(in, out, count, type, op, comm, nullptr);
  }
}

}  // namespace

BalancedCase::BalancedCase(DataType of, RedOp by, uint32_t nranks, uint64_t length)
    : type(of), op(by), elements(length) {
  const size_t size = size_of(type);
  for (uint32_t rank = 0; rank < nranks; ++rank) inputs.emplace_back(elements * size);
  wanted.resize(elements * size);
  const Fold fold(type, op);
  const uint32_t divisor = op == RedOp::kAvg && nranks > 1 ? nranks : 0;
  const auto rounding = is_narrow_float(type) ? std::make_unique<NarrowRounding>(type) : nullptr;
  const auto stored = [&rounding](uint64_t bits) {
    return rounding == nullptr ? bits : rounding->round(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  };
  std::vector<uint64_t> leaves(nranks);
  for (uint64_t i = 0; i < elements; ++i) {
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      const uint64_t bits = number(type, rank, i);
      set_element(inputs[rank].data(), type, i, bits);
      leaves[rank] = widened(type, bits);
    }
    const uint64_t bits = stored(fold.tree(leaves, 0, nranks, divisor));
    set_element(wanted.data(), type, i, bits);
    differing += bits != stored(fold.from_left(leaves, divisor)) ? 1 : 0;
  }
}

std::vector<BalancedCase> balanced_cases(uint32_t nranks) {
  std::vector<BalancedCase> cases;
  constexpr uint64_t kElements = 4099;
  for (int type = 0; type < kDataTypeCount; ++type) {
    for (const RedOp op : {RedOp::kSum, RedOp::kProd, RedOp::kAvg})
      cases.emplace_back(static_cast<DataType>(type), op, nranks, kElements);
  }
  constexpr uint64_t kTiles = 300'007;
  cases.emplace_back(DataType::kFloat32, RedOp::kSum, nranks, kTiles);
  cases.emplace_back(DataType::kBfloat16, RedOp::kAvg, nranks, kTiles);
  return cases;
}

std::string run_balanced_rows(comityComm_t comm, uint32_t rank, const std::vector<BalancedCase>& cases) {
  for (const BalancedCase& numbers : cases) {
    const size_t size = size_of(numbers.type);
    const auto nranks = static_cast<uint32_t>(numbers.inputs.size());
    std::vector<std::byte> out(numbers.elements * size);
    for (const Collective collective :
         {Collective::kAllReduce, Collective::kReduce, Collective::kReduceScatter}) {
      const bool scatters = collective == Collective::kReduceScatter;
      const uint64_t whole = scatters ? numbers.elements / nranks : numbers.elements;
      for (const uint64_t count : {uint64_t{5}, whole}) {
        const uint32_t root = static_cast<uint32_t>(count) % nranks;
        const comityResult_t result = reduce(collective, numbers, numbers.inputs[rank].data(), out.data(),
                                             count, static_cast<int>(root), comm);
        const std::string what = fmt::format("{} of {} {} ({}) of {} ranks, rank {}", name_of(collective),
                                             count, name_of(numbers.type), name_of(numbers.op), nranks, rank);
        if (result != comitySuccess) return what + ": " + comityGetLastError(comm);
        if (collective == Collective::kReduce && rank != root) continue;
        const std::byte* wanted = numbers.wanted.data() + (scatters ? rank * count * size : 0);
        if (std::memcmp(out.data(), wanted, count * size) != 0) return what + ": other bits than the tree's";
      }
    }
  }
  return "";
}

}  // namespace comity::test
