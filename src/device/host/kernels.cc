#include "src/device/host/kernels.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "src/device/host/kernels_table.h"

namespace comity {
namespace {

// Below this a plain copy wins whoever owns the lines: heads, tails and the fence are not paid back.
constexpr uint64_t kLeastStreamBytes = 4096;

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0;
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
bool has_avx2() {
  return false;
}
bool has_avx512() {
  return false;
}
#endif

constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

size_t count_isas() {
  static const size_t count = has_avx512() ? 3 : has_avx2() ? 2 : 1;
  return count;
}

const KernelTable& table_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kKernelsAvx512;
  if (isa == Isa::kAvx2) return kKernelsAvx2;
#endif
  assert(isa == Isa::kScalar);
  return kKernelsScalar;
}

// Constant-initialized, so that a reduction in another file's static initializer runs too: slower, same bits.
const KernelTable* best_table = &kKernelsScalar;
[[maybe_unused]] const bool chosen = [] {
  best_table = &table_of(best_isa());
  return true;
}();

constexpr size_t kPieceElements = 512;  // two pieces of fp32 in the first-level cache

// One source of partial results and contributions, in fp32; what is not divided yet is.
void decode_divided(const KernelTable& table, const ReduceWork& work, size_t source, uint64_t at,
                    size_t count, float* to) {
  const auto type = static_cast<size_t>(work.type);
  table.decode[type](work.sources[source] + at * size_of(work.type), to, count);
  if (work.divided[source] != 0) return;
  auto* bytes = reinterpret_cast<std::byte*>(to);
  const std::byte* const sources[] = {bytes};
  std::byte* const destinations[] = {bytes};
  table.reduce[static_cast<size_t>(DataType::kFloat32)][static_cast<size_t>(RedOp::kSum)](
      {sources, destinations, 1, 1, count, work.divisor, false});
}

// Where partial results meet contributions (a ring's way, hosts of one rank among larger ones): piece by
// piece in fp32, by the table's own kernels, so that every set gives the same bits.
void reduce_divided(const KernelTable& table, const ReduceWork& work) {
  assert(is_narrow_float(work.type) && work.divided.size() == work.sources.size());
  alignas(64) float folded[kPieceElements];
  alignas(64) float next[kPieceElements];
  const std::byte* const sources[] = {reinterpret_cast<std::byte*>(folded),
                                      reinterpret_cast<std::byte*>(next)};
  std::byte* const destinations[] = {reinterpret_cast<std::byte*>(folded)};
  for (uint64_t at = 0; at < work.count; at += kPieceElements) {
    const size_t count = std::min<uint64_t>(kPieceElements, work.count - at);
    decode_divided(table, work, 0, at, count, folded);
    for (size_t source = 1; source < work.sources.size(); ++source) {
      decode_divided(table, work, source, at, count, next);
      table.reduce[static_cast<size_t>(DataType::kFloat32)][static_cast<size_t>(work.op)](
          {sources, destinations, 2, 1, count, 0, false});
    }
    for (std::byte* destination : work.destinations) {
      table.encode[static_cast<size_t>(work.type)](folded, destination + at * size_of(work.type), count);
    }
  }
}

void reduce_from(const KernelTable& table, const ReduceWork& work) {
  assert(!work.sources.empty() && !work.destinations.empty());
  if (!work.divided.empty() && work.divisor != 0) [[unlikely]] {
    return reduce_divided(table, work);
  }
  const KernelWork raw{work.sources.data(), work.destinations.data(),
                       work.sources.size(), work.destinations.size(),
                       work.count,          work.divisor,
                       work.stream_stores};
  table.reduce[static_cast<size_t>(work.type)][static_cast<size_t>(work.op)](raw);
}

void copy_from(const KernelTable& table, void* destination, const void* source, uint64_t bytes, bool stream) {
  if (bytes == 0) return;
  if (!stream || bytes < kLeastStreamBytes) {
    std::memcpy(destination, source, bytes);
    return;
  }
  table.copy_stream(static_cast<std::byte*>(destination), static_cast<const std::byte*>(source), bytes);
}

}  // namespace

std::string_view name_of(Isa isa) {
  constexpr std::string_view kNames[] = {"scalar", "avx2", "avx512"};
  return kNames[static_cast<size_t>(isa)];
}

std::span<const Isa> available_isas() {
  return std::span(kIsas).first(count_isas());
}

Isa best_isa() {
  return available_isas().back();
}

void use_isa(Isa isa) {
  best_table = &table_of(isa);
}

void reduce_host(const ReduceWork& work) {
  reduce_from(*best_table, work);
}

void reduce_host_with(Isa isa, const ReduceWork& work) {
  reduce_from(table_of(isa), work);
}

void decode_floats(Isa isa, DataType narrow_type, const std::byte* narrow, float* wide, uint64_t count) {
  const auto kernel = table_of(isa).decode[static_cast<size_t>(narrow_type)];
  assert(kernel != nullptr);
  kernel(narrow, wide, count);
}

void encode_floats(Isa isa, DataType narrow_type, const float* wide, std::byte* narrow, uint64_t count) {
  const auto kernel = table_of(isa).encode[static_cast<size_t>(narrow_type)];
  assert(kernel != nullptr);
  kernel(wide, narrow, count);
}

void copy_host(void* destination, const void* source, uint64_t bytes, bool stream_stores) {
  copy_from(*best_table, destination, source, bytes, stream_stores);
}

void copy_host_with(Isa isa, void* destination, const void* source, uint64_t bytes, bool stream_stores) {
  copy_from(table_of(isa), destination, source, bytes, stream_stores);
}

}  // namespace comity
