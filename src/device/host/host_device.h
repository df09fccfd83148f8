// The host as a device: the CPU's own memory, kernels that are done when issue returns, one queue.
#pragma once

#include "comity/plugin/device.h"
#include "src/device/host/arena.h"

namespace comity {

// Allocations come from `pool` and can be exported. Every method may be called from any thread, also on one
// queue.
class HostDevice final : public Device {
 public:
  explicit HostDevice(ArenaPool& pool = ArenaPool::instance()) : pool_(pool) {}

  std::string_view name() const override { return "host"; }
  // The host owns what no other device does: the registry asks it last.
  bool owns(const void*, uint64_t) const override { return true; }
  bool host_addressable() const override { return true; }

  Result<void*> allocate(uint64_t bytes) override { return pool_.allocate(bytes); }
  Status release(void* pointer) override { return pool_.release(pointer); }
  // For memory of any pool or SharedRegion of this process. Hot paths ask RegionTable::handle_of(), which
  // makes no error message.
  Result<MemoryHandle> export_memory(const void* pointer, uint64_t bytes) const override;

  uint32_t queue_count() const override { return 1; }
  // Token 0: complete when issue returns. `queue` is not looked at.
  Result<Token> copy(uint32_t queue, void* destination, const void* source, uint64_t bytes) override;
  // kInvalidArgument without a source or destination.
  Result<Token> reduce(uint32_t queue, const ReduceWork& work) override;
  Result<bool> poll(uint32_t, Token) override { return true; }

 private:
  ArenaPool& pool_;
};

}  // namespace comity
