#include "src/device/table/table_device.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/base/settings.h"

namespace comity {
namespace {

constexpr uint32_t kMostQueues = 8;

}  // namespace

TableDevice::TableDevice(std::shared_ptr<DeviceRuntime> runtime, uint32_t number)
    : runtime_(std::move(runtime)), number_(number), name_(fmt::format("{}:{}", runtime_->name(), number)) {}

Result<std::unique_ptr<TableDevice>> TableDevice::open(std::shared_ptr<DeviceRuntime> runtime,
                                                       uint32_t number) {
  COMITY_RETURN_IF_ERROR(runtime->usable());
  if (number >= runtime->device_count()) {
    return Status(Code::kInvalidArgument, fmt::format("{} has {} devices, and no number {}", runtime->name(),
                                                      runtime->device_count(), number));
  }
  std::unique_ptr<TableDevice> device(new TableDevice(std::move(runtime), number));
  COMITY_RETURN_IF_ERROR(device->prepare());
  return device;
}

Status TableDevice::prepare() {
  properties_.size = sizeof properties_;
  COMITY_RETURN_IF_ERROR(runtime_->status(runtime_->table().properties(number_, &properties_), "properties"));
  for (char* text : {properties_.name, properties_.driver}) text[sizeof properties_.name - 1] = '\0';
  properties_.bus_id[sizeof properties_.bus_id - 1] = '\0';
  COMITY_ASSIGN_OR_RETURN(const uint64_t seconds, setting_number("COMITY_DEVICE_TIMEOUT"));
  const TableQueue::Context context{*runtime_, number_, properties_, seconds * 1'000'000'000u};
  const uint32_t count = std::clamp(properties_.queues, 1u, kMostQueues);
  for (uint32_t queue = 0; queue < count; ++queue) {
    COMITY_ASSIGN_OR_RETURN(auto made, TableQueue::create(context));
    queues_.push_back(std::move(made));
  }
  return {};
}

bool TableDevice::owns(const void* pointer, uint64_t bytes) const {
  comityDevicePointer found{};
  found.size = sizeof found;
  if (!runtime_->usable().ok() || runtime_->table().find(pointer, &found) != COMITY_DEVICE_OK) return false;
  if (found.device != number_) return false;
  const uint64_t offset = reinterpret_cast<uintptr_t>(pointer) - found.base;
  return found.bytes == 0 || (offset <= found.bytes && bytes <= found.bytes - offset);
}

Result<void*> TableDevice::allocate(uint64_t bytes) {
  COMITY_RETURN_IF_ERROR(runtime_->usable());
  void* memory = nullptr;
  COMITY_RETURN_IF_ERROR(runtime_->status(runtime_->table().allocate(number_, bytes, &memory), "allocate"));
  return memory;
}

Status TableDevice::release(void* pointer) {
  COMITY_RETURN_IF_ERROR(runtime_->usable());
  return runtime_->status(runtime_->table().release(number_, pointer), "release");
}

Result<MemoryHandle> TableDevice::export_memory(const void*, uint64_t) const {
  return Status(Code::kUnsupported, fmt::format("{}: peers reach this memory through the host", name_));
}

Status TableDevice::check_queue(uint32_t queue) const {
  COMITY_RETURN_IF_ERROR(runtime_->usable());
  if (queue < queues_.size()) return {};
  return Status(Code::kInvalidArgument, fmt::format("{}: queue {} of {}", name_, queue, queues_.size()));
}

Result<Token> TableDevice::copy(uint32_t queue, void* destination, const void* source, uint64_t bytes) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  const bool to_device = owns(destination, bytes);
  const bool from_device = owns(source, bytes);
  if (bytes != 0 && !to_device && !from_device) {
    return Status(Code::kInvalidArgument, fmt::format("{}: neither {} nor {} are {} bytes of its memory",
                                                      name_, destination, source, bytes));
  }
  const uint32_t way = !to_device    ? COMITY_DEVICE_COPY_OUT
                       : from_device ? COMITY_DEVICE_COPY_WITHIN
                                     : COMITY_DEVICE_COPY_IN;
  return queues_[queue]->copy(destination, source, bytes, way);
}

Result<Token> TableDevice::reduce(uint32_t queue, const ReduceWork& work) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  const uint64_t bytes = work.count * size_of(work.type);
  const auto mine = [&](const std::byte* pointer) { return bytes == 0 || owns(pointer, bytes); };
  if (!std::all_of(work.sources.begin(), work.sources.end(), mine) ||
      !std::all_of(work.destinations.begin(), work.destinations.end(), mine)) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{}: a reduction names memory that is not its own", name_));
  }
  return queues_[queue]->reduce(work);
}

Result<bool> TableDevice::poll(uint32_t queue, Token token) {
  COMITY_RETURN_IF_ERROR(check_queue(queue));
  return queues_[queue]->poll(token);
}

}  // namespace comity
