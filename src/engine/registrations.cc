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
  call_.clear();
  expected_[0] = input;
  expected_[1] = output;
}

void CallMemory::end() {
  begin({}, {});
  std::erase_if(hinted_, [this](const auto& each) { return !hints_.contains(each.first); });
}

void CallMemory::abandon() {
  for (std::vector<Entry>* entries : {&call_, &kept_}) {
    for (Entry& entry : *entries) {
      if (entry.registration != nullptr) registrations_.bury(std::move(entry.registration));
    }
    entries->clear();
  }
  for (auto& [id, registration] : hinted_) registrations_.bury(std::move(registration));
  hinted_.clear();
  begin({}, {});
}

void CallMemory::forget(const std::byte* data) {
  std::erase_if(kept_, [data](const Entry& entry) { return entry.range.data == data; });
}

Result<const Registration*> CallMemory::of(const std::byte* data, uint64_t bytes) {
  for (const Entry& entry : call_) {
    if (entry.range.holds(data, bytes)) return entry.registration.get();
  }
  return make(data, bytes);
}

Result<const Registration*> CallMemory::make(const std::byte* data, uint64_t bytes) {
  for (Entry& entry : kept_) {
    if (!entry.range.holds(data, bytes)) continue;
    if (entry.registration == nullptr) {
      COMITY_ASSIGN_OR_RETURN(entry.registration, registrations_.make(entry.range));
    }
    return entry.registration.get();
  }
  COMITY_ASSIGN_OR_RETURN(auto in_arena, registrations_.in_arena(data, bytes));
  if (in_arena) {
    call_.push_back({in_arena->range, std::move(in_arena->registration)});
    return call_.back().registration.get();
  }
  if (const auto hint = hints_.find(data, bytes)) {
    Registrations::Kept& kept = hinted_[hint->id];
    if (kept == nullptr) {
      COMITY_ASSIGN_OR_RETURN(kept, registrations_.make(hint->range));
    }
    call_.push_back({hint->range, kept});
    return kept.get();
  }
  for (const MemoryRange& range : expected_) {
    if (range.holds(data, bytes)) return enter(range);
  }
  return enter({data, bytes});
}

Result<const Registration*> CallMemory::enter(const MemoryRange& range) {
  COMITY_ASSIGN_OR_RETURN(auto made, registrations_.make(range));
  call_.push_back({range, std::move(made)});
  return call_.back().registration.get();
}

}  // namespace comity::engine
