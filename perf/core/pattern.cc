#include "perf/core/pattern.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "perf/core/element.h"
#include "src/base/hash.h"

namespace comity::perf {
namespace {

uint64_t noise(int rank, size_t position) {
  return mix(static_cast<uint64_t>(rank) * kPeriod + position + 1);
}

// A number in [-bound, bound], or [0, bound] if `negative` is false.
int64_t small_integer(uint64_t noise_bits, uint64_t bound, bool negative) {
  const auto size = static_cast<int64_t>(noise_bits % (bound + 1));
  return negative && (noise_bits >> 63) != 0 ? -size : size;
}

// Whether `rank` is one of the `few` ranks that are not neutral at `position`.
bool contributes(int rank, size_t position, uint64_t few, int nranks) {
  const auto p = static_cast<uint64_t>(nranks);
  return (static_cast<uint64_t>(rank) + position) % p < few;
}

int64_t average_at(const PatternKey& key, size_t position, uint64_t most) {
  if (most == 0) return 0;
  if (most == 1) return static_cast<int64_t>(mix(position) % 2);
  return static_cast<int64_t>(1 + mix(position) % (most - 1)) *
         (is_signed(key.type) && mix(position) >> 63 != 0 ? -1 : 1);
}

// The avg pattern of every type: integers, exact in each partial sum.
int64_t average_value(const PatternKey& key, int rank, size_t position) {
  const auto p = static_cast<uint64_t>(key.nranks);
  const uint64_t most = std::min<uint64_t>(exact_integers(key.type) / p, 50);
  const int64_t q = average_at(key, position, most);
  if (key.nranks < 2 || most == 1) return q;
  const int64_t room =
      most == 0 ? (is_signed(key.type) ? 1 : 0) : std::min(std::abs(q), static_cast<int64_t>(p));
  const auto d = static_cast<int64_t>(mix(position + kPeriod) % static_cast<uint64_t>(room + 1));
  const auto plus = static_cast<int>(position % p);
  if (rank == plus) return q + d;
  return rank == (plus + 1) % key.nranks ? q - d : q;
}

double floating_value(const PatternKey& key, int rank, size_t position) {
  const uint64_t n = noise(rank, position);
  const auto p = static_cast<uint64_t>(key.nranks);
  const uint64_t exact = exact_integers(key.type);
  switch (*key.op) {
    case RedOp::kSum: {
      const uint64_t few = std::min(p, exact);
      if (!contributes(rank, position, few, key.nranks)) return 0;
      return static_cast<double>(small_integer(n, std::min<uint64_t>(exact / few, 1000), true));
    }
    case RedOp::kProd: {
      if (!contributes(rank, position, std::min<uint64_t>(p, 6), key.nranks)) return 1;
      return std::ldexp((n >> 63) != 0 ? -1.0 : 1.0, static_cast<int>(n % 3) - 1);
    }
    case RedOp::kMin:
    case RedOp::kMax:
      return static_cast<double>(small_integer(n, std::min<uint64_t>(exact, 1 << 20), true));
    case RedOp::kAvg:
      return static_cast<double>(average_value(key, rank, position));
  }
  return 0;
}

uint64_t integer_value(const PatternKey& key, int rank, size_t position) {
  if (*key.op == RedOp::kAvg) return static_cast<uint64_t>(average_value(key, rank, position));
  return *key.op == RedOp::kProd ? noise(rank, position) | 1 : noise(rank, position);
}

// The low bytes of `bits` as the integer type reads them, widened to 64 bits.
uint64_t widened(DataType type, uint64_t bits) {
  const int unused = 64 - 8 * static_cast<int>(size_of(type));
  if (is_signed(type)) return static_cast<uint64_t>(static_cast<int64_t>(bits << unused) >> unused);
  return bits << unused >> unused;
}

uint64_t reduced_integer(const PatternKey& key, size_t position) {
  uint64_t result = widened(key.type, integer_value(key, 0, position));
  const auto before = [&](uint64_t a, uint64_t b) {
    return is_signed(key.type) ? static_cast<int64_t>(a) < static_cast<int64_t>(b) : a < b;
  };
  for (int rank = 1; rank < key.nranks; ++rank) {
    const uint64_t value = widened(key.type, integer_value(key, rank, position));
    if (*key.op == RedOp::kSum || *key.op == RedOp::kAvg) result += value;
    if (*key.op == RedOp::kProd) result *= value;
    if (*key.op == RedOp::kMin && before(value, result)) result = value;
    if (*key.op == RedOp::kMax && before(result, value)) result = value;
  }
  if (*key.op != RedOp::kAvg) return result;
  return static_cast<uint64_t>(static_cast<int64_t>(result) / key.nranks);
}

double reduced_floating(const PatternKey& key, size_t position) {
  double result = floating_value(key, 0, position);
  for (int rank = 1; rank < key.nranks; ++rank) {
    const double value = floating_value(key, rank, position);
    if (*key.op == RedOp::kSum || *key.op == RedOp::kAvg) result += value;
    if (*key.op == RedOp::kProd) result *= value;
    if (*key.op == RedOp::kMin) result = std::min(result, value);
    if (*key.op == RedOp::kMax) result = std::max(result, value);
  }
  return *key.op == RedOp::kAvg ? result / key.nranks : result;
}

}  // namespace

Pattern Pattern::input(const PatternKey& key, int rank) {
  std::vector<uint64_t> bits(kPeriod);
  for (size_t position = 0; position < kPeriod; ++position) {
    if (!key.op) {
      bits[position] = noise(rank, position);
    } else if (is_floating(key.type)) {
      bits[position] = encode_floating(key.type, floating_value(key, rank, position));
    } else {
      bits[position] = integer_value(key, rank, position);
    }
  }
  return Pattern(key.type, bits);
}

Pattern Pattern::reduced(const PatternKey& key) {
  std::vector<uint64_t> bits(kPeriod);
  for (size_t position = 0; position < kPeriod; ++position) {
    bits[position] = is_floating(key.type) ? encode_floating(key.type, reduced_floating(key, position))
                                           : reduced_integer(key, position);
  }
  return Pattern(key.type, bits);
}

Pattern::Pattern(DataType type, const std::vector<uint64_t>& bits)
    : element_bytes_(size_of(type)), twice_(2 * kPeriod * element_bytes_) {
  for (size_t i = 0; i < 2 * kPeriod; ++i) {  // little-endian: the low bytes come first
    std::memcpy(twice_.data() + i * element_bytes_, &bits[i % kPeriod], element_bytes_);
  }
}

uint64_t Pattern::bits_at(size_t position) const {
  uint64_t bits = 0;
  std::memcpy(&bits, twice_.data() + position * element_bytes_, element_bytes_);
  return bits;
}

template <typename Visit>
void Pattern::for_each_run(size_t first, size_t count, size_t shift, Visit visit) const {
  for (size_t done = 0; done < count;) {
    const size_t index = first + done;
    const size_t run = std::min(count - done, kPeriod - index % kPeriod);
    visit(done * element_bytes_, twice_.data() + position_of(index, shift) * element_bytes_, run);
    done += run;
  }
}

void Pattern::fill(std::byte* out, size_t first, size_t count, size_t shift) const {
  for_each_run(first, count, shift, [&](size_t offset, const std::byte* elements, size_t run) {
    std::memcpy(out + offset, elements, run * element_bytes_);
  });
}

uint64_t Pattern::count_wrong(const std::byte* actual, size_t first, size_t count, size_t shift) const {
  uint64_t wrong = 0;
  for_each_run(first, count, shift, [&](size_t offset, const std::byte* elements, size_t run) {
    if (std::memcmp(actual + offset, elements, run * element_bytes_) == 0) return;
    for (size_t i = 0; i < run * element_bytes_; i += element_bytes_) {
      wrong += std::memcmp(actual + offset + i, elements + i, element_bytes_) != 0 ? 1 : 0;
    }
  });
  return wrong;
}

}  // namespace comity::perf
