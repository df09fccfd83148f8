// The place of a call on a user's stream of a device behind a table: an event before it, a gate behind it.
#pragma once

#include <memory>

#include "comity/plugin/device.h"
#include "src/device/table/runtime.h"

namespace comity {

class TablePassage final : public Passage {
 public:
  // Errors: as Device::pass().
  static Result<std::unique_ptr<Passage>> make(std::shared_ptr<const DeviceRuntime> runtime, uint32_t device,
                                               void* stream);
  static Status check(const DeviceRuntime& runtime, uint32_t device, void* stream);
  ~TablePassage() override;
  TablePassage(const TablePassage&) = delete;
  TablePassage& operator=(const TablePassage&) = delete;
  Result<bool> ahead_is_done() override;

 private:
  explicit TablePassage(std::shared_ptr<const DeviceRuntime> runtime) : runtime_(std::move(runtime)) {}
  const std::shared_ptr<const DeviceRuntime> runtime_;
  comityDeviceEvent_t ahead_ = nullptr;
  comityDeviceGate_t gate_ = nullptr;
};

}  // namespace comity
