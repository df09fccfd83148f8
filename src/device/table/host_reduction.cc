#include "src/device/table/host_reduction.h"

#include <algorithm>
#include <cstdlib>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

namespace comity {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{256} << 10;  // of one source
constexpr uint64_t kAlignment = 64;

}  // namespace

OwnedReduction::OwnedReduction(const ReduceWork& given)
    : work(given),
      sources(given.sources.begin(), given.sources.end()),
      destinations(given.destinations.begin(), given.destinations.end()),
      divided(given.divided.begin(), given.divided.end()) {}

ReduceWork OwnedReduction::view() const {
  ReduceWork viewed = work;
  viewed.sources = sources;
  viewed.destinations = destinations;
  viewed.divided = divided;
  return viewed;
}

// --- pinned memory -----------------------------------------------------------------------------------------

Result<std::byte*> PinnedMemory::provide(uint64_t bytes) {
  if (bytes > bytes_) {
    drop();
    if (runtime_.table().allocate_host != nullptr) {
      COMITY_RETURN_IF_ERROR(
          runtime_.status(runtime_.table().allocate_host(bytes, &memory_), "allocate_host"));
    } else {
      memory_ = std::aligned_alloc(kAlignment, round_up(bytes, kAlignment));
      if (memory_ == nullptr) return Status(Code::kSystemError, "no memory to stage a reduction");
    }
    bytes_ = bytes;
  }
  return static_cast<std::byte*>(memory_);
}

void PinnedMemory::drop() {
  if (memory_ == nullptr) return;
  if (runtime_.table().release_host != nullptr) {
    static_cast<void>(runtime_.table().release_host(memory_));
  } else {
    std::free(memory_);
  }
  memory_ = nullptr;
  bytes_ = 0;
}

// --- the reduction -----------------------------------------------------------------------------------------

HostReduction::HostReduction(const OwnedReduction& reduction, std::byte* staging,
                             const std::array<comityDeviceEvent_t, 4>& events)
    : reduction_(reduction),
      bytes_(reduction.work.count * size_of(reduction.work.type)),
      pieces_(divide_up(bytes_, kPieceBytes)) {
  slots_[0] = {staging, events[0], events[1]};
  slots_[1] = {staging + bytes_for(reduction) / 2, events[2], events[3]};
}

uint64_t HostReduction::bytes_for(const OwnedReduction& reduction) {
  const uint64_t bytes = reduction.work.count * size_of(reduction.work.type);
  return 2 * reduction.sources.size() * round_up(std::min(bytes, kPieceBytes), kAlignment);
}

uint64_t HostReduction::bytes_of_piece(uint64_t piece) const {
  return std::min(kPieceBytes, bytes_ - piece * kPieceBytes);
}

std::byte* HostReduction::place(const Slot& slot, size_t source) const {
  return slot.memory + source * round_up(std::min(bytes_, kPieceBytes), kAlignment);
}

Result<bool> HostReduction::advance(const Queue& queue) {
  for (bool moved = true; moved && finished_ < pieces_;) {
    moved = false;
    if (begun_ < pieces_ && begun_ < finished_ + 2) {
      Slot& slot = slots_[begun_ % 2];
      if (slot.leaving) {
        COMITY_ASSIGN_OR_RETURN(const bool left, queue.complete(slot.out));
        slot.leaving = !left;
      }
      if (!slot.leaving) {
        COMITY_RETURN_IF_ERROR(begin(queue, begun_++));
        moved = true;
      }
    }
    if (finished_ < begun_) {
      COMITY_ASSIGN_OR_RETURN(const bool came, queue.complete(slots_[finished_ % 2].in));
      if (came) {
        COMITY_RETURN_IF_ERROR(finish(queue, finished_++));
        moved = true;
      }
    }
  }
  return finished_ == pieces_;
}

Status HostReduction::begin(const Queue& queue, uint64_t piece) {
  const Slot& slot = slots_[piece % 2];
  for (size_t source = 0; source < reduction_.sources.size(); ++source) {
    COMITY_RETURN_IF_ERROR(queue.copy(place(slot, source), reduction_.sources[source] + piece * kPieceBytes,
                                      bytes_of_piece(piece), COMITY_DEVICE_COPY_OUT));
  }
  return queue.record(slot.in);
}

Status HostReduction::finish(const Queue& queue, uint64_t piece) {
  Slot& slot = slots_[piece % 2];
  const uint64_t bytes = bytes_of_piece(piece);
  std::vector<const std::byte*> sources;
  for (size_t source = 0; source < reduction_.sources.size(); ++source)
    sources.push_back(place(slot, source));
  std::byte* const result = place(slot, 0);
  ReduceWork work = reduction_.view();
  work.sources = sources;
  work.destinations = std::span(&result, 1);
  work.count = bytes / size_of(work.type);
  reduce_host(work);
  for (std::byte* destination : reduction_.destinations) {
    COMITY_RETURN_IF_ERROR(
        queue.copy(destination + piece * kPieceBytes, result, bytes, COMITY_DEVICE_COPY_IN));
  }
  slot.leaving = true;
  return queue.record(slot.out);
}

}  // namespace comity
