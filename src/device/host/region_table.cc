#include <fcntl.h>
#include <fmt/core.h>

#include <cassert>
#include <cerrno>
#include <cstring>

#include "src/device/host/arena.h"

namespace comity {

RegionTable& RegionTable::instance() {
  static RegionTable* const table = new RegionTable;  // never destroyed: regions may be withdrawn at exit
  return *table;
}

namespace {
// Made when the library is loaded: a fork while another thread makes it would leave a child that waits for
// it.
[[maybe_unused]] const RegionTable& made_early = []() -> const RegionTable& {
  on_fork_in_child([] { RegionTable::instance().forget_all(); });
  return RegionTable::instance();
}();
}  // namespace

void RegionTable::forget_all() {
  const std::lock_guard lock(process_lock(ProcessLock::kRegions));
  for (auto& slot : slots_) slot.store(nullptr, std::memory_order_relaxed);
  slots_used_.store(0, std::memory_order_release);
}

std::optional<MemoryHandle> RegionTable::handle_of(const void* pointer, uint64_t bytes) const {
  const auto at = reinterpret_cast<uintptr_t>(pointer);
  const uint32_t used = slots_used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    const Region* region = slots_[i].load(std::memory_order_acquire);
    if (region == nullptr || at < region->begin || at >= region->end || bytes > region->end - at) continue;
    return MemoryHandle{process_nonce(), region->number, 0, at - region->begin};
  }
  return std::nullopt;
}

const RegionTable::Region* RegionTable::find(uint32_t number) const {
  const uint32_t used = slots_used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    const Region* region = slots_[i].load(std::memory_order_acquire);
    if (region != nullptr && region->number == number) return region;
  }
  return nullptr;
}

std::byte* RegionTable::base_of(uint32_t number) const {
  const Region* region = find(number);
  return region != nullptr ? reinterpret_cast<std::byte*>(region->begin) : nullptr;
}

uint64_t RegionTable::bytes_of(uint32_t number) const {
  const Region* region = find(number);
  return region != nullptr ? region->end - region->begin : 0;
}

Result<UniqueFd> RegionTable::descriptor_of(uint32_t number) const {
  // So that the region is not withdrawn, and its descriptor closed, meanwhile.
  const std::lock_guard lock(process_lock(ProcessLock::kRegions));
  const Region* region = find(number);
  if (region == nullptr) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("this process has no shared memory of number {}; it was freed or never was", number));
  }
  UniqueFd copy = open_fd([&] { return ::fcntl(region->fd, F_DUPFD_CLOEXEC, 0); });
  if (!copy.valid()) {
    return Status(Code::kSystemError,
                  fmt::format("cannot duplicate the descriptor of shared memory {}: {}; raise "
                              "the limit of open files (ulimit -n)",
                              number, std::strerror(errno)));
  }
  return copy;
}

Result<uint32_t> RegionTable::add(const SharedMapping& mapping) {
  const std::lock_guard lock(process_lock(ProcessLock::kRegions));
  uint32_t slot = 0;
  const uint32_t used = slots_used_.load(std::memory_order_relaxed);
  while (slot < used && slots_[slot].load(std::memory_order_relaxed) != nullptr) ++slot;
  if (slot == kMaxRegions || next_number_ == 0) {
    return Status(Code::kSystemError,
                  fmt::format("this process already has {} pieces of shared memory; allocate "
                              "fewer, larger buffers",
                              used));
  }
  const auto begin = reinterpret_cast<uintptr_t>(mapping.data());
  ever_.push_back(
      std::make_unique<const Region>(Region{begin, begin + mapping.bytes(), next_number_, mapping.fd()}));
  slots_[slot].store(ever_.back().get(), std::memory_order_release);
  if (slot == used) slots_used_.store(used + 1, std::memory_order_release);
  return next_number_++;
}

void RegionTable::remove(uint32_t number) {
  const std::lock_guard lock(process_lock(ProcessLock::kRegions));
  uint32_t used = slots_used_.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < used; ++i) {
    const Region* region = slots_[i].load(std::memory_order_relaxed);
    if (region != nullptr && region->number == number) slots_[i].store(nullptr, std::memory_order_release);
  }
  while (used > 0 && slots_[used - 1].load(std::memory_order_relaxed) == nullptr) --used;
  slots_used_.store(used, std::memory_order_release);
}

Result<SharedRegion> SharedRegion::create(uint64_t bytes, const char* purpose) {
  SharedRegion region;
  COMITY_ASSIGN_OR_RETURN(region.mapping_, SharedMapping::create(bytes, purpose));
  region.mapping_.keep_from_children();
  COMITY_ASSIGN_OR_RETURN(region.number_, RegionTable::instance().add(region.mapping_));
  return region;
}

SharedRegion::SharedRegion(SharedRegion&& other) noexcept
    : mapping_(std::move(other.mapping_)), number_(std::exchange(other.number_, 0)) {}

SharedRegion& SharedRegion::operator=(SharedRegion&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(number_, other.number_);
  return *this;
}

SharedRegion::~SharedRegion() {
  if (number_ != 0) RegionTable::instance().remove(number_);
}

}  // namespace comity
