// A reduction of a device's memory by the host: for types and operations that the device does not have.
//
//   piece k:    sources -> pinned slot (k mod 2) -> reduced there -> destinations
//   piece k+1:  its sources are on their way meanwhile
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "comity/plugin/device.h"
#include "src/device/table/runtime.h"

namespace comity {

// A ReduceWork that owns its lists.
struct OwnedReduction {
  ReduceWork work;
  std::vector<const std::byte*> sources;
  std::vector<std::byte*> destinations;
  std::vector<uint8_t> divided;

  OwnedReduction() = default;
  explicit OwnedReduction(const ReduceWork& given);
  // With the spans of this object's own lists. Valid until it is moved or changed.
  ReduceWork view() const;
};

// Memory of the host that a runtime copies fast, if it has such a thing. Only grows.
class PinnedMemory {
 public:
  explicit PinnedMemory(const DeviceRuntime& runtime) : runtime_(runtime) {}
  ~PinnedMemory() { drop(); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  // At least so many bytes, aligned to 64; what was there before is lost. May block.
  Result<std::byte*> provide(uint64_t bytes);
  uint64_t bytes() const { return bytes_; }
  // Not given back: work that nobody waits for may still use it.
  void leave() { memory_ = nullptr; }

 private:
  void drop();
  const DeviceRuntime& runtime_;
  void* memory_ = nullptr;
  uint64_t bytes_ = 0;
};

class HostReduction {
 public:
  // Puts a copy on the queue; puts an event behind what is on it; whether that is complete.
  struct Queue {
    std::function<Status(void* to, const void* from, uint64_t bytes, uint32_t way)> copy;
    std::function<Status(comityDeviceEvent_t event)> record;
    std::function<Result<bool>(comityDeviceEvent_t event)> complete;
  };

  // `staging` as bytes_for() says. `events`: four of the caller's, for as long as this lives.
  HostReduction(const OwnedReduction& reduction, std::byte* staging,
                const std::array<comityDeviceEvent_t, 4>& events);
  static uint64_t bytes_for(const OwnedReduction& reduction);
  // Advances; never blocks. True: the last copy to the destinations is on the queue.
  Result<bool> advance(const Queue& queue);
  std::array<comityDeviceEvent_t, 4> events() const {
    return {slots_[0].in, slots_[0].out, slots_[1].in, slots_[1].out};
  }

 private:
  struct Slot {
    std::byte* memory;
    comityDeviceEvent_t in, out;
    bool leaving = false;  // `out` was recorded and not seen complete
  };
  uint64_t bytes_of_piece(uint64_t piece) const;
  Status begin(const Queue& queue, uint64_t piece);
  Status finish(const Queue& queue, uint64_t piece);
  std::byte* place(const Slot& slot, size_t source) const;

  const OwnedReduction& reduction_;
  const uint64_t bytes_;
  const uint64_t pieces_;
  std::array<Slot, 2> slots_;
  uint64_t begun_ = 0;
  uint64_t finished_ = 0;
};

}  // namespace comity
