#include "src/engine/registrations.h"

#include <algorithm>
#include <utility>

#include "src/base/arithmetic.h"
#include "src/device/host/arena.h"

namespace comity::engine {
namespace {

constexpr uint64_t kArenaGranule = uint64_t{2} << 20;  // as allocations of an arena are placed

}  // namespace

// --- hints -------------------------------------------------------------------------------------------------

uint64_t MemoryHints::add(const MemoryRange& range) {
  const std::lock_guard lock(mutex_);
  ranges_.emplace(next_, range);
  return next_++;
}

bool MemoryHints::remove(uint64_t id) {
  const std::lock_guard lock(mutex_);
  return ranges_.erase(id) != 0;
}

void MemoryHints::clear() {
  const std::lock_guard lock(mutex_);
  ranges_.clear();
}

std::optional<MemoryHints::Hint> MemoryHints::find(const std::byte* data, uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, range] : ranges_) {
    if (range.holds(data, bytes)) return Hint{id, range};
  }
  return std::nullopt;
}

bool MemoryHints::contains(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  return ranges_.contains(id);
}

// --- of a transport ----------------------------------------------------------------------------------------

Result<Registrations::Kept> Registrations::make(const MemoryRange& range) {
  COMITY_ASSIGN_OR_RETURN(
      auto made, transport_.register_memory(nullptr, const_cast<std::byte*>(range.data), range.bytes));
  return Kept(std::move(made));
}

Result<std::optional<Registrations::InArena>> Registrations::in_arena(const std::byte* data, uint64_t bytes) {
  forget_lost_arenas();
  const RegionTable& table = RegionTable::instance();
  const std::optional<MemoryHandle> handle = table.handle_of(data, bytes);
  if (!handle) return std::optional<InArena>();
  std::vector<InArena>& parts = arenas_[handle->arena];
  const auto found = std::find_if(parts.begin(), parts.end(),
                                  [&](const InArena& part) { return part.range.holds(data, bytes); });
  if (found != parts.end()) return std::optional<InArena>(*found);
  const uint64_t first = handle->offset / kArenaGranule * kArenaGranule;
  const uint64_t end =
      std::min(round_up(handle->offset + bytes, kArenaGranule), table.bytes_of(handle->arena));
  const MemoryRange range{table.base_of(handle->arena) + first, end - first};
  COMITY_ASSIGN_OR_RETURN(Kept made, make(range));
  parts.push_back({range, std::move(made)});
  return std::optional<InArena>(parts.back());
}

void Registrations::forget_lost_arenas() {
  std::erase_if(arenas_,
                [](const auto& arena) { return RegionTable::instance().base_of(arena.first) == nullptr; });
}

// --- of a call ---------------------------------------------------------------------------------------------

void CallMemory::begin(const MemoryRange& input, const MemoryRange& output) {
  const std::lock_guard lock(mutex_);
  call_.clear();
  expected_[0] = input;
  expected_[1] = output;
  std::erase_if(hinted_, [this](const auto& each) { return !hints_.contains(each.first); });
}

void CallMemory::end() {
  begin({}, {});
}

void CallMemory::keep(const MemoryRange& range) {
  const std::lock_guard lock(mutex_);
  kept_.push_back({range, nullptr});
}

void CallMemory::forget(const std::byte* data) {
  const std::lock_guard lock(mutex_);
  std::erase_if(kept_, [data](const Entry& entry) { return entry.range.data == data; });
}

Result<const Registration*> CallMemory::of(const std::byte* data, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : call_) {
    if (entry.range.holds(data, bytes)) return entry.registration.get();
  }
  if (const Registration* wide = make_wide(data, bytes)) return wide;
  return enter({data, bytes});
}

// Null: it lies in nothing that is known to belong together, or that cannot be registered whole.
const Registration* CallMemory::make_wide(const std::byte* data, uint64_t bytes) {
  for (Entry& entry : kept_) {
    if (!entry.range.holds(data, bytes)) continue;
    if (entry.registration == nullptr) {
      auto made = registrations_.make(entry.range);
      if (made.ok()) entry.registration = std::move(made).value();
    }
    return entry.registration.get();
  }
  if (auto in_arena = registrations_.in_arena(data, bytes); in_arena.ok() && *in_arena)
    return enter((*in_arena)->range, (*in_arena)->registration);
  if (const auto hint = hints_.find(data, bytes)) {
    Registrations::Kept& kept = hinted_[hint->id];
    if (kept == nullptr) {
      auto made = registrations_.make(hint->range);
      if (made.ok()) kept = std::move(made).value();
    }
    if (kept != nullptr) return enter(hint->range, kept);
  }
  for (const MemoryRange& range : expected_) {
    if (!range.holds(data, bytes)) continue;
    const auto made = enter(range);
    return made.ok() ? *made : nullptr;
  }
  return nullptr;
}

Result<const Registration*> CallMemory::enter(const MemoryRange& range) {
  COMITY_ASSIGN_OR_RETURN(auto made, registrations_.make(range));
  return enter(range, std::move(made));
}

const Registration* CallMemory::enter(const MemoryRange& range, Registrations::Kept registration) {
  call_.push_back({range, std::move(registration)});
  return call_.back().registration.get();
}

}  // namespace comity::engine
