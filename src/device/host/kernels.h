// The host's arithmetic: reductions of every type and operation, and copies, on memory the CPU can address.
//
// One templated source (kernels_body.h) is compiled once per instruction set, each in a file of its own with
// internal linkage, so that no function compiled for a newer machine can end up in the path of an older one.
// The best set of this machine is chosen once, at start. Every set gives the same bits, which lets two ranks
// compute one chunk redundantly on different machines:
//   - sources are folded from the left; fp16, bf16 and fp8 accumulate in fp32 and are rounded once, to
//     nearest even;
//   - a NaN in the result is the type's one canonical NaN (fp32 0x7fc00000, fp64 0x7ff8000000000000, fp16
//     0x7e00, bf16 0x7fc0, e4m3 0x7f, e5m2 0x7e), whatever its sign and payload were;
//   - min and max: a NaN operand gives NaN, and -0 is smaller than +0;
//   - subnormals are kept and rounding is to nearest even whatever the calling thread's MXCSR says;
//   - fp8: an accumulator beyond the largest finite value becomes that value (OCP saturation); an infinite
//     one stays infinite in e5m2 and becomes the largest value in e4m3, which has no infinity;
//   - integers wrap at their own width; a divisor truncates toward zero. Floats divide by the divisor rounded
//     to the accumulator's type (exact up to 2^24).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "comity/plugin/device.h"

namespace comity {

// Instruction sets, in rising order. kScalar needs nothing beyond the architecture's baseline (on x86-64
// SSE2).
enum class Isa : uint8_t { kScalar = 0, kAvx2 = 1, kAvx512 = 2 };
std::string_view name_of(Isa isa);

// The sets this machine can run, in rising order, never empty. Static storage.
std::span<const Isa> available_isas();
// The last of available_isas(): what reduce_host() and copy_host() use.
Isa best_isa();
// Makes them use this one, of available_isas(), from now on. For benchmarks whose instructions are counted;
// not while another thread uses them.
void use_isa(Isa isa);

// Carries out `work` before it returns, with the best instruction set. At least one source and one
// destination, any number of either; every pointer aligned to its element at least; a destination may equal a
// source. Allocates nothing, calls nothing of the system, any thread. Non-temporal stores, where asked for,
// are ordered before later stores.
void reduce_host(const ReduceWork& work);
// The same with a chosen set, which must be one of available_isas(). For tests and benchmarks.
void reduce_host_with(Isa isa, const ReduceWork& work);

// The conversions within those reductions: fp16, bf16 and fp8 (no other type) to fp32, exactly, and back,
// rounded to nearest even, whatever the environment of floating point is.
void decode_floats(Isa isa, DataType narrow_type, const std::byte* narrow, float* wide, uint64_t count);
void encode_floats(Isa isa, DataType narrow_type, const float* wide, std::byte* narrow, uint64_t count);

// Copies `bytes` between ranges that do not overlap. With `stream_stores` the destination is written around
// the caches (it wins where a peer's core will read it next; it loses into lines that this core holds) and
// the stores are ordered before later ones.
void copy_host(void* destination, const void* source, uint64_t bytes, bool stream_stores);
void copy_host_with(Isa isa, void* destination, const void* source, uint64_t bytes, bool stream_stores);

}  // namespace comity
