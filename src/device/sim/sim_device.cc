#include "src/device/sim/sim_device.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

namespace comity {
namespace {

constexpr uint64_t kPage = 4096;

std::byte* reserve(uint64_t bytes, int protection) {
  void* start = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  ::madvise(start, bytes, MADV_DONTDUMP);
  return static_cast<std::byte*>(start);
}

}  // namespace

Result<std::unique_ptr<SimDevice>> SimDevice::create(Options options) {
  options.memory_bytes = round_up(options.memory_bytes, kPage);
  std::byte* reserved = reserve(options.memory_bytes, PROT_NONE);
  std::byte* content = reserved != nullptr ? reserve(options.memory_bytes, PROT_READ | PROT_WRITE) : nullptr;
  if (content == nullptr) {
    const int error = errno;
    if (reserved != nullptr) ::munmap(reserved, options.memory_bytes);
    return Status(Code::kSystemError,
                  fmt::format("sim: cannot reserve {} MiB of addresses: {}; look at ulimit -v",
                              options.memory_bytes >> 20, std::strerror(error)));
  }
  return std::unique_ptr<SimDevice>(new SimDevice(options, reserved, content));
}

SimDevice::SimDevice(Options options, std::byte* reserved, std::byte* content)
    : options_(options),
      reserved_(reserved),
      content_(content),
      ranges_(options.memory_bytes),
      random_(options.seed) {}

SimDevice::~SimDevice() {
  ::munmap(reserved_, options_.memory_bytes);
  ::munmap(content_, options_.memory_bytes);
}

bool SimDevice::owns(const void* pointer, uint64_t bytes) const {
  const auto at = reinterpret_cast<uintptr_t>(pointer);
  const auto begin = reinterpret_cast<uintptr_t>(reserved_);
  return at >= begin && at - begin < options_.memory_bytes && bytes <= options_.memory_bytes - (at - begin);
}

Result<void*> SimDevice::allocate(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  // Pages of their own, and one that is never given out behind each: an access past the end meets no
  // neighbour.
  const bool fits = bytes != 0 && bytes <= options_.memory_bytes - kPage;
  const uint64_t taken = round_up(bytes, kPage) + kPage;
  const auto offset = fits ? ranges_.take(taken, kPage) : std::nullopt;
  if (!offset) {
    return Status(Code::kSystemError,
                  fmt::format("sim: cannot allocate {} bytes of {} MiB", bytes, options_.memory_bytes >> 20));
  }
  allocations_[*offset] = bytes;
  return static_cast<void*>(reserved_ + *offset);
}

Status SimDevice::release(void* pointer) {
  const std::lock_guard lock(mutex_);
  const auto found =
      owns(pointer, 0)
          ? allocations_.find(static_cast<uint64_t>(static_cast<std::byte*>(pointer) - reserved_))
          : allocations_.end();
  if (found == allocations_.end()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("sim: {} is not an allocation of this device", pointer));
  }
  const uint64_t pages = round_up(found->second, kPage);
  ::madvise(content_ + found->first, pages, MADV_DONTNEED);
  ranges_.give(found->first, pages + kPage);
  allocations_.erase(found);
  return Status();
}

Result<MemoryHandle> SimDevice::export_memory(const void*, uint64_t) const {
  return Status(Code::kUnsupported, "sim: other processes cannot map this device's memory");
}

// Where the device finds the bytes of a user's range. Holds mutex_.
Result<std::byte*> SimDevice::private_place(const void* pointer, uint64_t bytes, bool host_allowed) const {
  auto* user = static_cast<std::byte*>(const_cast<void*>(pointer));
  if (!owns(pointer, 0)) {
    if (host_allowed) return user;
    return Status(Code::kInvalidArgument, fmt::format("sim: {} is not memory of this device", pointer));
  }
  const auto offset = static_cast<uint64_t>(user - reserved_);
  auto after = allocations_.upper_bound(offset);
  if (after != allocations_.begin()) {
    const auto& [begin, size] = *std::prev(after);
    if (offset - begin <= size && bytes <= size - (offset - begin)) return content_ + offset;
  }
  return Status(Code::kInvalidArgument,
                fmt::format("sim: {} bytes at {} are not within one allocation", bytes, pointer));
}

Status SimDevice::check_queue(uint32_t queue) const {
  if (queue < kStreams) return Status();
  return Status(Code::kInvalidArgument, fmt::format("sim: queue {} of {}", queue, kStreams));
}

Token SimDevice::enqueue(uint32_t queue, Work work) {
  work.polls_left = 1 + static_cast<uint32_t>(random_() % options_.most_polls);
  queues_[queue].waiting.push_back(std::move(work));
  return ++queues_[queue].issued;
}

Result<Token> SimDevice::copy(uint32_t queue, void* destination, const void* source, uint64_t bytes) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  const std::lock_guard lock(mutex_);
  COMITY_ASSIGN_OR_RETURN(std::byte * to, private_place(destination, bytes, true));
  COMITY_ASSIGN_OR_RETURN(const std::byte* from, private_place(source, bytes, true));
  return enqueue(queue, Work{0, true, bytes, {}, {from}, {to}, {}});
}

Result<Token> SimDevice::reduce(uint32_t queue, const ReduceWork& work) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  if (work.sources.empty() || work.destinations.empty()) {
    return Status(Code::kInvalidArgument, "sim: a reduction needs a source and a destination");
  }
  if (work.count > options_.memory_bytes / size_of(work.type)) {
    return Status(Code::kInvalidArgument, fmt::format("sim: {} elements do not fit the device", work.count));
  }
  const uint64_t bytes = work.count * size_of(work.type);
  const std::lock_guard lock(mutex_);
  Work item{0, false, bytes, work, {}, {}, {work.divided.begin(), work.divided.end()}};
  for (const std::byte* source : work.sources) {
    COMITY_ASSIGN_OR_RETURN(const std::byte* from, private_place(source, bytes, false));
    item.sources.push_back(from);
  }
  for (std::byte* destination : work.destinations) {
    COMITY_ASSIGN_OR_RETURN(std::byte * to, private_place(destination, bytes, false));
    item.destinations.push_back(to);
  }
  return enqueue(queue, std::move(item));
}

// One poll's worth of progress.
void SimDevice::step(Queue& queue) {
  if (queue.waiting.empty()) return;
  Work& work = queue.waiting.front();
  if (work.gate && !work.gate()) return;
  if (--work.polls_left > 0) return;
  if (work.gate) {
    // It is open, and that is all.
  } else if (work.kernel) {
    work.kernel(work.destinations);
  } else if (work.is_copy) {
    copy_host(work.destinations[0], work.sources[0], work.bytes, false);
  } else if (work.reduce.count != 0) {
    work.reduce.sources = work.sources;
    work.reduce.destinations = work.destinations;
    work.reduce.divided = work.divided;
    reduce_host(work.reduce);
  }
  queue.waiting.pop_front();
  ++queue.done;
}

Token SimDevice::issued(uint32_t queue) const {
  const std::lock_guard lock(mutex_);
  return queues_[queue].issued;
}

SimDevice::Gate SimDevice::hold(uint32_t queue) {
  auto gate = std::make_shared<std::atomic<bool>>(false);
  hold_until(queue, [gate] { return gate->load(); });
  return gate;
}

void SimDevice::hold_until(uint32_t queue, std::function<bool()> open) {
  const std::lock_guard lock(mutex_);
  Work work{};
  work.gate = std::move(open);
  enqueue(queue, std::move(work));
}

void SimDevice::hold_until(uint32_t queue, uint32_t other, Token token) {
  hold_until(queue, [this, other, token] { return queues_[other].done >= token; });
}

Result<Token> SimDevice::launch(uint32_t queue, const std::vector<Range>& ranges, Kernel run) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  const std::lock_guard lock(mutex_);
  Work work{};
  work.kernel = std::move(run);
  for (const Range& range : ranges) {
    COMITY_ASSIGN_OR_RETURN(std::byte * place, private_place(range.pointer, range.bytes, false));
    work.destinations.push_back(place);
  }
  return enqueue(queue, std::move(work));
}

Result<bool> SimDevice::poll(uint32_t queue, Token token) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  const std::lock_guard lock(mutex_);
  if (token > queues_[queue].issued) {
    return Status(Code::kInvalidArgument, fmt::format("sim: queue {} never gave token {}", queue, token));
  }
  for (uint32_t other = 0; other < kStreams; ++other) {
    if (queues_[other].waiting.empty()) continue;
    if (other == queue || (random_() & 1) != 0) step(queues_[other]);
  }
  return token <= queues_[queue].done;
}

}  // namespace comity
