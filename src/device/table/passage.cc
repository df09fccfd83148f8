#include "src/device/table/passage.h"

#include <fmt/core.h>

#include <utility>

namespace comity {

Status TablePassage::check(const DeviceRuntime& runtime, uint32_t device, void* stream) {
  COMITY_RETURN_IF_ERROR(runtime.usable());
  if (runtime.table().stream_check == nullptr) {
    return Status(Code::kUnsupported,
                  fmt::format("{}: its devices have no streams that a call can be put on", runtime.name()));
  }
  return runtime.status(runtime.table().stream_check(device, stream), "stream_check");
}

Result<std::unique_ptr<Passage>> TablePassage::make(std::shared_ptr<const DeviceRuntime> runtime,
                                                    uint32_t device, void* stream) {
  COMITY_RETURN_IF_ERROR(check(*runtime, device, stream));
  std::unique_ptr<TablePassage> passage(new TablePassage(std::move(runtime)));
  const DeviceRuntime& its = *passage->runtime_;
  const comityDeviceTable& table = its.table();
  COMITY_RETURN_IF_ERROR(its.status(table.event_create(device, &passage->ahead_), "event_create"));
  COMITY_RETURN_IF_ERROR(its.status(table.stream_record(device, stream, passage->ahead_), "stream_record"));
  COMITY_RETURN_IF_ERROR(its.status(table.stream_hold(device, stream, &passage->gate_), "stream_hold"));
  return std::unique_ptr<Passage>(std::move(passage));
}

TablePassage::~TablePassage() {
  if (!runtime_->usable().ok()) return;
  if (gate_ != nullptr) static_cast<void>(runtime_->table().gate_open(gate_));
  if (ahead_ != nullptr) static_cast<void>(runtime_->table().event_destroy(ahead_));
}

Result<bool> TablePassage::ahead_is_done() {
  const int32_t result = runtime_->table().event_query(ahead_);
  if (result == COMITY_DEVICE_PENDING) return false;
  if (Status status = runtime_->status(result, "the work ahead of the call on its stream"); !status.ok())
    return status;
  return true;
}

}  // namespace comity
