// Reductions as source text, for the compilers that makers of devices ship with their runtimes.
//
// One text for all of them, in what OpenCL C and the CUDA-like languages have in common; each runtime puts a
// prelude before it that defines
//
//   KERNEL, FN, GLOBAL        a kernel, a function beside it, a pointer's address space
//   INDEX                     this thread's number, 0 to the number of threads - 1, of type u64
//   i8 u8 u16 i32 u32 i64 u64, AS_I32 AS_F32 AS_I64 AS_F64 (the same bits as another type)
//   DIVIDE_F32(a, b)          correctly rounded
//   HAS_F64                   if there is a double
//
// and compiles it with subnormals kept and without contraction. For each type NAME of types() there are
//
//   sum2_NAME(a, a_at, b, b_at, to, to_at, count)
//   reduce_NAME(s0, s0_at .. s7, s7_at, to, to_at, count, sources, op, divisor, flags, divided)
//
// with u8 pointers and u64 byte offsets, one element a thread; the rest are u32 but count and divided (u64),
// as comityDeviceReduction has them. The bits are those of the host's kernels (src/device/host/kernels.h).
#pragma once

#include <cstdint>
#include <string_view>

namespace comity {

inline constexpr uint32_t kKernelSources = 8;
// The text; the same for the life of the process.
std::string_view reduce_source();
// The NAME of a type, by its number in the ABI.
std::string_view kernel_name_of_type(uint32_t type);

}  // namespace comity
