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

namespace comity::control {

struct CallRecord {
  uint64_t number = 0;     // of the collective in its communicator, from 1
  uint64_t signature = 0;  // hash of all that follows and the plan; travels with first messages
  uint64_t count = 0;
  uint32_t root = 0;
  Collective collective = Collective::kBarrier;
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;
};

// "all_reduce of 1024 float32 (sum)", "broadcast of 8 float32 (root 1)", "barrier": for verdicts.
std::string describe(const CallRecord& record);
// The 64-bit signature of a call (all fields of `record` but signature, and the plan's hash). Pure,
// a few ns.
uint64_t signature_of(const CallRecord& record, uint64_t plan_hash);

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
