// One device of a vendor's runtime as a Device: the only place where a table of functions is wrapped.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/device.h"
#include "src/device/table/passage.h"
#include "src/device/table/runtime.h"
#include "src/device/table/table_queue.h"

namespace comity {

class TableDevice final : public Device {
 public:
  // The device of this number, with its queues. Blocks as the runtime does: it may compile kernels.
  // kInvalidArgument: there is no such device; else the runtime's errors.
  static Result<std::unique_ptr<TableDevice>> open(std::shared_ptr<DeviceRuntime> runtime, uint32_t number);
  // Work that is not complete goes on in the runtime, and what it uses stays.
  ~TableDevice() override = default;

  // "opencl:0".
  std::string_view name() const override { return name_; }
  bool owns(const void* pointer, uint64_t bytes) const override;
  bool host_addressable() const override { return (properties_.flags & COMITY_DEVICE_HOST_ADDRESSABLE) != 0; }
  Result<void*> allocate(uint64_t bytes) override;
  Status release(void* pointer) override;
  // kUnsupported: peers reach it through the host.
  Result<MemoryHandle> export_memory(const void* pointer, uint64_t bytes) const override;

  uint32_t queue_count() const override { return static_cast<uint32_t>(queues_.size()); }
  // Unlike the Device's these may be called by several threads on one queue. The errors are the runtime's,
  // and kUnhandledDeviceError where nothing ended for COMITY_DEVICE_TIMEOUT.
  Result<Token> copy(uint32_t queue, void* destination, const void* source, uint64_t bytes) override;
  Result<Token> reduce(uint32_t queue, const ReduceWork& work) override;
  Result<bool> poll(uint32_t queue, Token token) override;
  Token issued(uint32_t queue) const override { return queues_[queue]->issued(); }

  Result<std::unique_ptr<Passage>> pass(void* stream) override {
    return TablePassage::make(runtime_, number_, stream);
  }
  Status check_stream(void* stream) const override { return TablePassage::check(*runtime_, number_, stream); }

  const DeviceRuntime& runtime() const { return *runtime_; }
  uint32_t number() const { return number_; }
  const comityDeviceProperties& properties() const { return properties_; }
  // Of a queue, for the conformance suite.
  comityDeviceQueue_t raw_queue(uint32_t queue) const { return queues_[queue]->raw(); }

 private:
  TableDevice(std::shared_ptr<DeviceRuntime> runtime, uint32_t number);
  Status prepare();
  Status check_queue(uint32_t queue) const;

  const std::shared_ptr<DeviceRuntime> runtime_;
  const uint32_t number_;
  const std::string name_;
  comityDeviceProperties properties_{};
  std::vector<std::unique_ptr<TableQueue>> queues_;
};

}  // namespace comity
