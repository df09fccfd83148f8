// What a rank has called: the last 1024 collectives of one communicator, written by the data path, read by
// the control thread when somebody suspects that ranks disagree.
//
// record() is wait-free and costs a few stores; find() may run at the same time on another thread and either
// returns a whole record or none.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "comity/plugin/types.h"
#include "src/base/hash.h"

namespace comity::control {

// What a record calls the operation of calls that multiply each rank's input by a scalar and then sum.
inline constexpr RedOp kPreMulSum = static_cast<RedOp>(kRedOpCount);

struct CallRecord {
  uint64_t number = 0;     // of the collective in its communicator, from 1
  uint64_t signature = 0;  // hash of all that follows and the plan; travels with first messages
  uint64_t count = 0;      // elements; of all blocks together where every rank is given all their lengths
  uint32_t root = 0;       // there: a hash of the lengths
  Collective collective = Collective::kBarrier;
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;  // or kPreMulSum
};

// Whether every rank is given the lengths of all blocks, which differ.
constexpr bool has_common_lengths(Collective collective) {
  return collective == Collective::kAllGatherV || collective == Collective::kReduceScatterV;
}

// "all_reduce of 1024 float32 (sum)", "broadcast of 8 float32 (root 1)", "all_gather_v of 96 float32 in all
// (lengths 5e1f20c3)", "all_to_all_v of float32", "barrier": for verdicts.
std::string describe(const CallRecord& record);

// All of a record but its number, count and signature.
inline uint64_t pack(const CallRecord& record) {
  return uint64_t{record.root} << 32 | uint64_t{static_cast<uint8_t>(record.collective)} << 16 |
         uint64_t{static_cast<uint8_t>(record.type)} << 8 | static_cast<uint8_t>(record.op);
}

// The 64-bit signature of a call (all fields of `record` but signature, and the plan's hash). Pure,
// a few ns.
inline uint64_t signature_of(const CallRecord& record, uint64_t plan_hash) {
  uint64_t hash = mix(record.number);
  hash = mix(hash ^ record.count);
  hash = mix(hash ^ pack(record));
  return mix(hash ^ plan_hash);
}

class CallLog {
 public:
  static constexpr uint64_t kKept = 1024;
  void record(const CallRecord& record);                  // data thread only
  std::optional<CallRecord> find(uint64_t number) const;  // any thread; none: not called yet, or forgotten
  uint64_t last_number() const { return last_.load(std::memory_order_acquire); }

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> version{0};  // 2 * number while whole, odd while being written
    std::atomic<uint64_t> signature{0}, count{0}, packed{0};
  };
  std::array<Slot, kKept> slots_;
  std::atomic<uint64_t> last_{0};
};

}  // namespace comity::control
