#include "src/device/host/reduce_source.h"

#include "comity/plugin/device_abi.h"

namespace comity {
namespace {

constexpr std::string_view kSource = R"kernel(
FN float canonical_f32(float v) { return v == v ? v : AS_F32(0x7fc00000); }
FN float sum_f32(float a, float b) { return a + b; }
FN float prod_f32(float a, float b) { return a * b; }
// Equal ones differ at most in the sign of zero; a NaN in b falls through the comparison.
FN float max_f32(float a, float b) {
  i32 x = AS_I32(a), y = AS_I32(b);
  i32 ordered = a == b ? (x & y) : a > b ? x : y;
  return AS_F32(a == a ? ordered : x);
}
FN float min_f32(float a, float b) {
  i32 x = AS_I32(a), y = AS_I32(b);
  i32 ordered = a == b ? (x | y) : a < b ? x : y;
  return AS_F32(a == a ? ordered : x);
}
FN float div_f32(float a, u32 d) { return DIVIDE_F32(a, (float)d); }
FN float decode_f32(float v) { return v; }
FN float encode_f32(float v) { return canonical_f32(v); }

FN float decode_bf16(u16 raw) { return AS_F32((i32)raw << 16); }
FN u16 encode_bf16(float v) {
  i32 bits = AS_I32(v);
  u32 raised = (u32)bits + 0x7fffu + (((u32)bits >> 16) & 1u);
  return (u16)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0u : raised >> 16);
}

// Sign, exponent and M bits of mantissa as in IEEE, smaller. TOP: beyond LARGEST comes 0 infinity, 1 LARGEST
// but infinity stays, 2 LARGEST always. Subnormals: with the exponent of the least normal number put on them
// they are off by just that number; adding a power of two whose last bit weighs as much lets the adder round.
#define SMALL(NAME, RAW, M, BIAS, SIGN, MAGNITUDE, LARGEST, NANBITS, TOP)                                \
  FN float decode_##NAME(RAW raw) {                                                                      \
    i32 magnitude = ((i32)raw & MAGNITUDE) << (23 - M);                                                  \
    i32 smallest = ((127 - BIAS) << 23) + (1 << 23);                                                     \
    i32 tiny = AS_I32(AS_F32(magnitude + smallest) - AS_F32(smallest));                                  \
    i32 value = magnitude < (1 << 23) ? tiny : magnitude + ((127 - BIAS) << 23);                         \
    if (TOP == 2) value = magnitude == (NANBITS << (23 - M)) ? 0x7fc00000 : value;                       \
    else value = magnitude > (LARGEST << (23 - M)) ? (value | 0x7f800000) : value;                       \
    return AS_F32(value | (i32)(((u32)raw << SIGN) & 0x80000000u));                                      \
  }                                                                                                      \
  FN RAW encode_##NAME(float v) {                                                                        \
    i32 bits = AS_I32(v);                                                                                \
    i32 magnitude = bits & 0x7fffffff;                                                                   \
    u32 odd = ((u32)magnitude >> (23 - M)) & 1u;                                                         \
    u32 raised = (u32)magnitude - (u32)((127 - BIAS) << 23) + ((1u << (22 - M)) - 1u) + odd;             \
    i32 magic = (1 - BIAS - M + 23 + 127) << 23;                                                         \
    i32 tiny = AS_I32(AS_F32(magnitude) + AS_F32(magic)) - magic;                                        \
    i32 value = magnitude < ((127 - BIAS) << 23) + (1 << 23) ? tiny : (i32)raised >> (23 - M);           \
    i32 ceiling = TOP == 0 ? LARGEST + 1 : LARGEST;                                                      \
    value = value > ceiling ? ceiling : value;                                                           \
    if (TOP == 1) value = magnitude == 0x7f800000 ? LARGEST + 1 : value;                                 \
    value |= (i32)(((u32)bits & 0x80000000u) >> SIGN);                                                   \
    return (RAW)(magnitude > 0x7f800000 ? NANBITS : value);                                              \
  }
SMALL(f16, u16, 10, 15, 16, 0x7fff, 0x7bff, 0x7e00, 0)
SMALL(e4m3, u8, 3, 7, 24, 0x7f, 0x7e, 0x7f, 2)
SMALL(e5m2, u8, 2, 15, 24, 0x7f, 0x7b, 0x7e, 1)

#define INTEGER(NAME, T, UNSIGNED, WIDE)                                          \
  FN T sum_##NAME(T a, T b) { return (T)((UNSIGNED)a + (UNSIGNED)b); }            \
  FN T prod_##NAME(T a, T b) { return (T)((UNSIGNED)a * (UNSIGNED)b); }           \
  FN T max_##NAME(T a, T b) { return a > b ? a : b; }                             \
  FN T min_##NAME(T a, T b) { return a < b ? a : b; }                             \
  FN T div_##NAME(T a, u32 d) { return (T)((WIDE)a / (WIDE)d); }                  \
  FN T decode_##NAME(T v) { return v; }                                           \
  FN T encode_##NAME(T v) { return v; }
INTEGER(i8, i8, u32, i64)
INTEGER(u8, u8, u32, u64)
INTEGER(i32, i32, u32, i64)
INTEGER(u32, u32, u32, u64)
INTEGER(i64, i64, u64, i64)
INTEGER(u64, u64, u64, u64)

#ifdef HAS_F64
FN double sum_f64(double a, double b) { return a + b; }
FN double prod_f64(double a, double b) { return a * b; }
FN double max_f64(double a, double b) {
  i64 x = AS_I64(a), y = AS_I64(b);
  i64 ordered = a == b ? (x & y) : a > b ? x : y;
  return AS_F64(a == a ? ordered : x);
}
FN double min_f64(double a, double b) {
  i64 x = AS_I64(a), y = AS_I64(b);
  i64 ordered = a == b ? (x | y) : a < b ? x : y;
  return AS_F64(a == a ? ordered : x);
}
FN double div_f64(double a, u32 d) { return a / (double)d; }
FN double decode_f64(double v) { return v; }
FN double encode_f64(double v) { return v == v ? v : AS_F64(0x7ff8000000000000L); }
#endif

#define SOURCE GLOBAL const u8*
#define PLACE(n) SOURCE s##n, u64 s##n##_at

// FOLD: the accumulator's name, which is the type's own or f32.
#define KERNELS(NAME, RAW, ACC, FOLD)                                                                    \
  KERNEL void sum2_##NAME(SOURCE a, u64 a_at, SOURCE b, u64 b_at, GLOBAL u8* to, u64 to_at, u64 count) { \
    GLOBAL const RAW* x = (GLOBAL const RAW*)(a + a_at);                                                 \
    GLOBAL const RAW* y = (GLOBAL const RAW*)(b + b_at);                                                 \
    GLOBAL RAW* z = (GLOBAL RAW*)(to + to_at);                                                           \
    u64 i = INDEX;                                                                                       \
    if (i < count) z[i] = encode_##NAME(sum_##FOLD(decode_##NAME(x[i]), decode_##NAME(y[i])));           \
  }                                                                                                      \
  FN ACC load_##NAME(SOURCE from, u64 at, u64 i, u32 k, u32 divisor, u32 flags, u64 divided) {           \
    ACC v = k == 0 && (flags & 1u) != 0 ? ((GLOBAL const ACC*)(from + at))[i]                            \
                                        : decode_##NAME(((GLOBAL const RAW*)(from + at))[i]);            \
    if ((flags & 4u) != 0 && divisor != 0 && ((divided >> k) & 1u) == 0) v = div_##FOLD(v, divisor);     \
    return v;                                                                                            \
  }                                                                                                      \
  FN ACC fold_##NAME(ACC a, ACC b, u32 op) {                                                             \
    return op == 0 ? sum_##FOLD(a, b) : op == 1 ? prod_##FOLD(a, b) : op == 2 ? max_##FOLD(a, b) : min_##FOLD(a, b); \
  }                                                                                                      \
  KERNEL void reduce_##NAME(PLACE(0), PLACE(1), PLACE(2), PLACE(3), PLACE(4), PLACE(5), PLACE(6), PLACE(7), \
                            GLOBAL u8* to, u64 to_at, u64 count, u32 sources, u32 op, u32 divisor,       \
                            u32 flags, u64 divided) {                                                    \
    u64 i = INDEX;                                                                                       \
    if (i >= count) return;                                                                              \
    ACC v = load_##NAME(s0, s0_at, i, 0, divisor, flags, divided);                                       \
    if (sources > 1) v = fold_##NAME(v, load_##NAME(s1, s1_at, i, 1, divisor, flags, divided), op);      \
    if (sources > 2) v = fold_##NAME(v, load_##NAME(s2, s2_at, i, 2, divisor, flags, divided), op);      \
    if (sources > 3) v = fold_##NAME(v, load_##NAME(s3, s3_at, i, 3, divisor, flags, divided), op);      \
    if (sources > 4) v = fold_##NAME(v, load_##NAME(s4, s4_at, i, 4, divisor, flags, divided), op);      \
    if (sources > 5) v = fold_##NAME(v, load_##NAME(s5, s5_at, i, 5, divisor, flags, divided), op);      \
    if (sources > 6) v = fold_##NAME(v, load_##NAME(s6, s6_at, i, 6, divisor, flags, divided), op);      \
    if (sources > 7) v = fold_##NAME(v, load_##NAME(s7, s7_at, i, 7, divisor, flags, divided), op);      \
    if ((flags & 4u) == 0 && divisor != 0) v = div_##FOLD(v, divisor);                                   \
    if ((flags & 2u) != 0) ((GLOBAL ACC*)(to + to_at))[i] = v;                                           \
    else ((GLOBAL RAW*)(to + to_at))[i] = encode_##NAME(v);                                              \
  }
KERNELS(i8, i8, i8, i8)
KERNELS(u8, u8, u8, u8)
KERNELS(i32, i32, i32, i32)
KERNELS(u32, u32, u32, u32)
KERNELS(i64, i64, i64, i64)
KERNELS(u64, u64, u64, u64)
KERNELS(f16, u16, float, f32)
KERNELS(f32, float, float, f32)
#ifdef HAS_F64
KERNELS(f64, double, double, f64)
#endif
KERNELS(bf16, u16, float, f32)
KERNELS(e4m3, u8, float, f32)
KERNELS(e5m2, u8, float, f32)
)kernel";

}  // namespace

std::string_view reduce_source() {
  return kSource;
}

std::string_view kernel_name_of_type(uint32_t type) {
  constexpr std::string_view kNames[COMITY_DEVICE_TYPES] = {"i8",  "u8",  "i32", "u32",  "i64",  "u64",
                                                            "f16", "f32", "f64", "bf16", "e4m3", "e5m2"};
  return kNames[type];
}

}  // namespace comity
