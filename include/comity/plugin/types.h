// The vocabulary that every room shares: data types, operations, collectives.
//
// The numeric values equal those of the C API (comity.h) and travel in signatures between ranks, so
// they never change. Nothing here allocates, blocks or fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace comity {

// Element types, in the order of the C API's comityDataType_t.
enum class DataType : uint8_t {
  kInt8 = 0,
  kUint8 = 1,
  kInt32 = 2,
  kUint32 = 3,
  kInt64 = 4,
  kUint64 = 5,
  kFloat16 = 6,
  kFloat32 = 7,
  kFloat64 = 8,
  kBfloat16 = 9,
  kFloat8e4m3 = 10,  // OCP e4m3fn: no infinity, one NaN encoding per sign
  kFloat8e5m2 = 11,  // OCP e5m2: infinities and NaNs as in IEEE
};
inline constexpr int kDataTypeCount = 12;

// Reductions, in the order of the C API's comityRedOp_t. kAvg is kSum followed by one division by the
// number of ranks, done in the accumulator and rounded with it; integers truncate toward zero.
enum class RedOp : uint8_t { kSum = 0, kProd = 1, kMax = 2, kMin = 3, kAvg = 4 };
inline constexpr int kRedOpCount = 5;

// What ranks do together: first those that plans are made for, then what is carried out by their plans or by
// none.
enum class Collective : uint8_t {
  kAllReduce = 0,
  kReduce = 1,
  kBroadcast = 2,
  kAllGather = 3,
  kReduceScatter = 4,
  kBarrier = 5,
  kAllToAll = 6,
  kGather = 7,
  kScatter = 8,
  // With blocks of different lengths: carried out by the plan of planned_as().
  kAllGatherV = 9,
  kReduceScatterV = 10,
  kAllToAllV = 11,
  kGatherV = 12,
  kScatterV = 13,
  kExchange = 14,  // Sends and Recvs of one group
  kSplit = 15,
  kFinalize = 16,
};
inline constexpr int kCollectiveCount = 9;  // that plans are made for
inline constexpr int kCallKindCount = 17;

// Whose plan carries it out; itself where it has none.
constexpr Collective planned_as(Collective collective) {
  switch (collective) {
    case Collective::kAllGatherV:
      return Collective::kAllGather;
    case Collective::kReduceScatterV:
      return Collective::kReduceScatter;
    case Collective::kAllToAllV:
      return Collective::kAllToAll;
    case Collective::kGatherV:
      return Collective::kGather;
    case Collective::kScatterV:
      return Collective::kScatter;
    default:
      return collective;
  }
}

// Its blocks have lengths of their own.
constexpr bool is_varying(Collective collective) {
  return planned_as(collective) != collective;
}

// Bytes of one element: 1, 2, 4 or 8.
constexpr size_t size_of(DataType type) {
  constexpr size_t kSizes[kDataTypeCount] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
  return kSizes[static_cast<int>(type)];
}

constexpr bool is_floating(DataType type) {
  return type == DataType::kFloat16 || type == DataType::kFloat32 || type == DataType::kFloat64 ||
         type == DataType::kBfloat16 || type == DataType::kFloat8e4m3 || type == DataType::kFloat8e5m2;
}

// Holds negative numbers.
constexpr bool is_signed(DataType type) {
  return is_floating(type) || type == DataType::kInt8 || type == DataType::kInt32 || type == DataType::kInt64;
}

// Floats of 8 and 16 bits: what is made of them is computed in fp32 and rounded.
constexpr bool is_narrow_float(DataType type) {
  return is_floating(type) && size_of(type) <= 2;
}

constexpr std::string_view name_of(DataType type) {
  constexpr std::string_view kNames[kDataTypeCount] = {"int8",    "uint8",    "int32",   "uint32",
                                                       "int64",   "uint64",   "float16", "float32",
                                                       "float64", "bfloat16", "f8e4m3",  "f8e5m2"};
  return kNames[static_cast<int>(type)];
}

constexpr std::string_view name_of(RedOp op) {
  constexpr std::string_view kNames[kRedOpCount] = {"sum", "prod", "max", "min", "avg"};
  return kNames[static_cast<int>(op)];
}

constexpr std::string_view name_of(Collective collective) {
  constexpr std::string_view kNames[kCallKindCount] = {
      "all_reduce", "reduce",    "broadcast", "all_gather",   "reduce_scatter",   "barrier",
      "all_to_all", "gather",    "scatter",   "all_gather_v", "reduce_scatter_v", "all_to_all_v",
      "gather_v",   "scatter_v", "exchange",  "split",        "finalize"};
  return kNames[static_cast<int>(collective)];
}

// Has a root: one rank that gives or gets what the others do not.
constexpr bool is_rooted(Collective collective) {
  const Collective base = planned_as(collective);
  return base == Collective::kBroadcast || base == Collective::kReduce || base == Collective::kGather ||
         base == Collective::kScatter;
}

// Its input has a block for every rank; its output has.
constexpr bool has_input_blocks(Collective collective) {
  const Collective base = planned_as(collective);
  return base == Collective::kReduceScatter || base == Collective::kScatter || base == Collective::kAllToAll;
}
constexpr bool has_output_blocks(Collective collective) {
  const Collective base = planned_as(collective);
  return base == Collective::kAllGather || base == Collective::kGather || base == Collective::kAllToAll;
}

// Only the root has an input; an output.
constexpr bool gives_from_root(Collective collective) {
  return collective == Collective::kBroadcast || planned_as(collective) == Collective::kScatter;
}
constexpr bool takes_to_root(Collective collective) {
  return collective == Collective::kReduce || planned_as(collective) == Collective::kGather;
}

constexpr bool is_reduction(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kReduce ||
         collective == Collective::kReduceScatter || collective == Collective::kReduceScatterV;
}

// What becomes of a call's partial results, by which plans are chosen: nothing is lost where they have the
// type of the accumulator or are one of the operands; else each is rounded that leaves the accumulator.
enum class Partials : uint8_t { kExact = 0, kRounded16 = 1, kRounded8 = 2 };
inline constexpr int kPartialsCount = 3;

namespace detail {
struct PartialsTable {
  Partials of[kDataTypeCount][kRedOpCount] = {};
  constexpr PartialsTable() {
    for (int type = 0; type < kDataTypeCount; ++type) {
      if (!is_narrow_float(static_cast<DataType>(type))) continue;
      const bool bytes = size_of(static_cast<DataType>(type)) == 1;
      for (const RedOp op : {RedOp::kSum, RedOp::kProd, RedOp::kAvg}) {
        of[type][static_cast<int>(op)] = bytes ? Partials::kRounded8 : Partials::kRounded16;
      }
    }
  }
};
inline constexpr PartialsTable kPartialsTable;
}  // namespace detail

// Of a collective that reduces; the others make no partial results (kExact).
constexpr Partials partials_of(DataType type, RedOp op) {
  return detail::kPartialsTable.of[static_cast<int>(type)][static_cast<int>(op)];
}

}  // namespace comity
