#include "src/device/host/kernels.h"

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

void reduce_from(const KernelTable& table, const ReduceWork& work) {
  assert(!work.sources.empty() && !work.destinations.empty());
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
