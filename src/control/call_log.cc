#include "src/control/call_log.h"

#include <fmt/core.h>

#include "src/base/hash.h"

namespace comity::control {
namespace {

uint64_t pack(const CallRecord& record) {
  return uint64_t{record.root} << 32 | uint64_t{static_cast<uint8_t>(record.collective)} << 16 |
         uint64_t{static_cast<uint8_t>(record.type)} << 8 | static_cast<uint8_t>(record.op);
}

}  // namespace

std::string describe(const CallRecord& record) {
  if (record.collective == Collective::kBarrier) return "barrier";
  std::string details = is_reduction(record.collective) ? std::string(name_of(record.op)) : std::string();
  if (is_rooted(record.collective)) {
    details += fmt::format("{}root {}", details.empty() ? "" : ", ", record.root);
  }
  return fmt::format("{} of {} {}{}", name_of(record.collective), record.count, name_of(record.type),
                     details.empty() ? "" : fmt::format(" ({})", details));
}

uint64_t signature_of(const CallRecord& record, uint64_t plan_hash) {
  uint64_t hash = mix(record.number);
  hash = mix(hash ^ record.count);
  hash = mix(hash ^ pack(record));
  return mix(hash ^ plan_hash);
}

// A sequence lock whose payload is atomic too, so that no fence is needed: each payload store is a release,
// which keeps it behind the odd version; each payload load is an acquire, which keeps the second look at the
// version behind it.
void CallLog::record(const CallRecord& record) {
  Slot& slot = slots_[record.number % kKept];
  slot.version.store(2 * record.number + 1, std::memory_order_relaxed);
  slot.signature.store(record.signature, std::memory_order_release);
  slot.count.store(record.count, std::memory_order_release);
  slot.packed.store(pack(record), std::memory_order_release);
  slot.version.store(2 * record.number, std::memory_order_release);
  last_.store(record.number, std::memory_order_release);
}

std::optional<CallRecord> CallLog::find(uint64_t number) const {
  const Slot& slot = slots_[number % kKept];
  if (number == 0 || slot.version.load(std::memory_order_acquire) != 2 * number) return std::nullopt;
  CallRecord record;
  record.number = number;
  record.signature = slot.signature.load(std::memory_order_acquire);
  record.count = slot.count.load(std::memory_order_acquire);
  const uint64_t packed = slot.packed.load(std::memory_order_acquire);
  if (slot.version.load(std::memory_order_relaxed) != 2 * number) return std::nullopt;
  record.root = static_cast<uint32_t>(packed >> 32);
  record.collective = static_cast<Collective>(packed >> 16 & 0xff);
  record.type = static_cast<DataType>(packed >> 8 & 0xff);
  record.op = static_cast<RedOp>(packed & 0xff);
  return record;
}

}  // namespace comity::control
