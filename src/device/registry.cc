#include "src/device/registry.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "src/base/settings.h"
#include "src/base/text.h"
#include "src/device/runtimes.h"
#include "src/device/table/table_device.h"

namespace comity {
namespace {

// "opencl:1" is device 1 of "opencl".
struct Entry {
  std::string_view runtime;
  std::optional<uint32_t> number;
};

Entry entry_of(std::string_view text) {
  const size_t colon = text.rfind(':');
  const std::string_view digits =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (digits.empty() || digits.size() > 4 ||
      !std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c) != 0; }))
    return {text, std::nullopt};
  uint32_t number = 0;
  for (const char digit : digits) number = number * 10 + static_cast<uint32_t>(digit - '0');
  return {text.substr(0, colon), number};
}

// What does not open is an error of the setting's, whatever it was to the runtime.
Status refused(const Status& why) {
  const Code code = why.code() == Code::kUnsupported ? Code::kSystemError : why.code();
  return Status(code, fmt::format("COMITY_DEVICES: {}", why.message()));
}

}  // namespace

Result<std::unique_ptr<DeviceRegistry>> DeviceRegistry::open() {
  return open(setting_text("COMITY_DEVICES"));
}

Result<std::unique_ptr<DeviceRegistry>> DeviceRegistry::open(std::string_view names) {
  std::unique_ptr<DeviceRegistry> registry(new DeviceRegistry);
  bool host_listed = false;
  for (const std::string_view name : split(names)) {
    if (name == "host") {
      if (std::exchange(host_listed, true))
        return refused({Code::kInvalidArgument, "it lists \"host\" twice"});
      continue;
    }
    if (Status added = registry->add(name); !added.ok()) return refused(added);
  }
  return registry;
}

Status DeviceRegistry::add(std::string_view name) {
  const Entry entry = entry_of(name);
  COMITY_ASSIGN_OR_RETURN(std::shared_ptr<DeviceRuntime> runtime, open_runtime(entry.runtime));
  const uint32_t first = entry.number.value_or(0);
  const uint32_t end = entry.number ? first + 1 : runtime->device_count();
  for (uint32_t number = first; number < end; ++number) {
    COMITY_ASSIGN_OR_RETURN(auto device, TableDevice::open(runtime, number));
    if (find(device->name()) != nullptr)
      return Status(Code::kInvalidArgument, fmt::format("it lists \"{}\" twice", device->name()));
    others_.push_back(std::move(device));
  }
  return {};
}

std::unique_ptr<DeviceRegistry> DeviceRegistry::of(std::vector<std::unique_ptr<Device>> others) {
  std::unique_ptr<DeviceRegistry> registry(new DeviceRegistry);
  registry->others_ = std::move(others);
  return registry;
}

Device* DeviceRegistry::find(std::string_view name) const {
  for (Device* device : all()) {
    if (device->name() == name) return device;
  }
  const std::string first = fmt::format("{}:0", name);
  for (Device* device : all()) {
    if (device->name() == first) return device;
  }
  return nullptr;
}

std::vector<Device*> DeviceRegistry::all() const {
  std::vector<Device*> devices{host_.get()};
  for (const auto& device : others_) devices.push_back(device.get());
  return devices;
}

void DeviceRegistry::keep(std::shared_ptr<void> memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  kept_.push_back(std::move(memory));
}

}  // namespace comity
