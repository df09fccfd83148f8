#include "src/control/call_log.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace comity::control {
namespace {

std::string amount_of(const CallRecord& record) {
  const std::string_view type = name_of(record.type);
  if (has_common_lengths(record.collective)) return fmt::format("{} {} in all", record.count, type);
  return is_varying(record.collective) ? std::string(type) : fmt::format("{} {}", record.count, type);
}

}  // namespace

std::string describe(const CallRecord& record) {
  const Collective collective = record.collective;
  if (collective == Collective::kBarrier || collective >= Collective::kExchange)
    return std::string(name_of(collective));
  std::vector<std::string> details;
  if (is_reduction(collective))
    details.emplace_back(record.op == kPreMulSum ? "premulsum" : name_of(record.op));
  if (is_rooted(collective)) details.push_back(fmt::format("root {}", record.root));
  if (has_common_lengths(collective)) details.push_back(fmt::format("lengths {:08x}", record.root));
  return fmt::format("{} of {}{}", name_of(collective), amount_of(record),
                     details.empty() ? "" : fmt::format(" ({})", fmt::join(details, ", ")));
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
