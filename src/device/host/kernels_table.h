// What the per-instruction-set files give to the dispatcher: one table of functions each.
//
// Those files are compiled with flags that this machine may lack, so this header, and all else that they
// include, must not define a function with external linkage: the linker keeps one copy of an inline function,
// of any file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace comity {

// ReduceWork in plain pointers: `count` elements, `source_count` and `destination_count` at least 1.
struct KernelWork {
  const std::byte* const* sources;
  std::byte* const* destinations;
  size_t source_count;
  size_t destination_count;
  size_t count;
  uint32_t divisor;
  bool stream;
};

using ReduceKernel = void (*)(const KernelWork& work);

struct KernelTable {
  ReduceKernel reduce[12][5];                                              // by DataType, RedOp
  void (*decode[12])(const std::byte* narrow, float* wide, size_t count);  // null but for fp16, bf16 and fp8
  void (*encode[12])(const float* wide, std::byte* narrow, size_t count);
  void (*copy_stream)(std::byte* destination, const std::byte* source, size_t bytes);
};

extern const KernelTable kKernelsScalar;
#if defined(__x86_64__)
extern const KernelTable kKernelsAvx2;
extern const KernelTable kKernelsAvx512;
#endif

}  // namespace comity
