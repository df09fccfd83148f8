#include "src/device/host/arena.h"

#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/arithmetic.h"
#include "src/base/errno_text.h"
#include "src/base/log.h"
#include "src/base/settings.h"

namespace comity {
namespace {

constexpr uint64_t kLeastAlignment = 128;  // two lines: neighbouring lines are fetched together
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kTouchFrom = uint64_t{4} << 20;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, since Linux 5.14
constexpr int kCollapse = 25;       // MADV_COLLAPSE, since Linux 6.1

// First touch costs far more than any collective on the memory: it is done here, once. Huge pages are best
// effort. False if the system has no memory left.
bool touch(std::byte* data, uint64_t bytes) {
  if (::madvise(data, bytes, kPopulateWrite) != 0) {
    if (errno == ENOMEM || errno == EFAULT) return false;
    for (uint64_t at = 0; at < bytes; at += 4096) {
      auto* byte = reinterpret_cast<volatile unsigned char*>(data + at);
      *byte = *byte;
    }
  }
  ::madvise(data, bytes, kCollapse);
  return true;
}

Result<uint64_t> configured_cap() {
  COMITY_ASSIGN_OR_RETURN(const uint64_t cap, setting_number("COMITY_ARENA_CAP"));
  if (cap != 0) return cap;
  const auto pages = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES));
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) / 2;
}

}  // namespace

ArenaPool& ArenaPool::instance() {
  static ArenaPool* const pool = new ArenaPool;  // never destroyed: users free at exit
  return *pool;
}

namespace {
// Made when the library is loaded: a fork while another thread makes it would leave a child that waits for
// it.
[[maybe_unused]] const ArenaPool& made_early = ArenaPool::instance();
}  // namespace

ArenaPool::~ArenaPool() {
  for (const auto& arena : arenas_) RegionTable::instance().remove(arena->number);
}

Result<void*> ArenaPool::allocate(uint64_t bytes) {
  if (bytes == 0 || bytes > (uint64_t{1} << 46)) {
    return Status(
        Code::kSystemError,
        fmt::format("cannot allocate {} bytes: more than COMITY_ARENA_CAP or any memory allows", bytes));
  }
  const bool large = bytes >= kTouchFrom;
  const uint64_t alignment = bytes >= kHugePage ? kHugePage : kLeastAlignment;
  const uint64_t rounded = round_up(bytes, large ? kHugePage : kLeastAlignment);
  void* pointer = nullptr;
  {
    const std::lock_guard lock(process_lock(ProcessLock::kArenas));
    leave_to_parent();
    auto found = place(rounded, alignment);
    if (!found) {
      COMITY_ASSIGN_OR_RETURN(Arena * grown, grow(rounded));
      found = Place{grown, *grown->ranges.take(rounded, alignment), rounded};
    }
    ++found->arena->allocations;
    pointer = found->arena->mapping.data() + found->offset;
    places_[pointer] = *found;
  }
  if (large && !touch(static_cast<std::byte*>(pointer), rounded)) {
    const std::string why = errno_text(errno);
    (void)release(pointer).ok();
    return Status(
        Code::kSystemError,
        fmt::format("cannot allocate {} MiB: the system has no memory left ({})", bytes >> 20, why));
  }
  return pointer;
}

void ArenaPool::leave_to_parent() {
  if (std::exchange(era_, fork_era()) == fork_era()) return;
  for (const auto& place : places_) inherited_.insert(place.first);
  for (auto& arena : arenas_) comity::leave_to_parent(arena.release());  // its mapping stays
  arenas_.clear();
  places_.clear();
  held_bytes_ = 0;
}

std::optional<ArenaPool::Place> ArenaPool::place(uint64_t bytes, uint64_t alignment) {
  for (const auto& arena : arenas_) {
    if (auto offset = arena->ranges.take(bytes, alignment)) return Place{arena.get(), *offset, bytes};
  }
  return std::nullopt;
}

// A wholly free arena that is too small is given up first: it counts against the cap.
Result<ArenaPool::Arena*> ArenaPool::grow(uint64_t bytes) {
  const uint64_t needed = round_up(bytes, kHugePage);
  uint64_t cap = options_.cap_bytes;
  if (cap == 0) {
    COMITY_ASSIGN_OR_RETURN(cap, configured_cap());
  }
  if (held_bytes_ + needed > cap) drop_spare_arenas(0);
  const uint64_t left = cap > held_bytes_ ? round_down(cap - held_bytes_, kHugePage) : 0;
  if (needed > left) {
    return Status(Code::kSystemError,
                  fmt::format("cannot allocate {} MiB: {} of {} MiB are held already; free some, or raise "
                              "COMITY_ARENA_CAP",
                              needed >> 20, held_bytes_ >> 20, cap >> 20));
  }
  const uint64_t size = std::max(needed, std::min(round_up(options_.arena_bytes, kHugePage), left));
  COMITY_ASSIGN_OR_RETURN(SharedMapping mapping, SharedMapping::create(size, "comity-arena"));
  COMITY_ASSIGN_OR_RETURN(const uint32_t number, RegionTable::instance().add(mapping));
  held_bytes_ += size;
  arenas_.push_back(std::make_unique<Arena>(Arena{std::move(mapping), number, RangeAllocator(size)}));
  COMITY_LOG_DEBUG("arena {} of {} MiB; {} MiB held in all", number, size >> 20, held_bytes_ >> 20);
  return arenas_.back().get();
}

Status ArenaPool::release(void* pointer) {
  const std::lock_guard lock(process_lock(ProcessLock::kArenas));
  leave_to_parent();
  if (inherited_.erase(pointer) != 0) return Status();
  const auto found = places_.find(pointer);
  if (found == places_.end()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{} is not memory that was allocated here, or it was freed before", pointer));
  }
  const Place place = found->second;
  places_.erase(found);
  place.arena->ranges.give(place.offset, place.bytes);
  if (--place.arena->allocations == 0) drop_spare_arenas(1);
  return Status();
}

void ArenaPool::drop_spare_arenas(uint64_t keep) {
  uint64_t kept = 0;
  std::erase_if(arenas_, [&](const std::unique_ptr<Arena>& arena) {
    if (arena->allocations != 0 || kept++ < keep) return false;
    RegionTable::instance().remove(arena->number);
    arena->mapping.discard();
    held_bytes_ -= arena->mapping.bytes();
    return true;
  });
}

bool ArenaPool::allocated(const void* pointer) const {
  const std::lock_guard lock(process_lock(ProcessLock::kArenas));
  return places_.count(pointer) != 0;
}

uint64_t ArenaPool::arena_count() const {
  const std::lock_guard lock(process_lock(ProcessLock::kArenas));
  return arenas_.size();
}

uint64_t ArenaPool::held_bytes() const {
  const std::lock_guard lock(process_lock(ProcessLock::kArenas));
  return held_bytes_;
}

}  // namespace comity
