#include "src/device/registry.h"

#include <fmt/core.h>

#include <utility>

#include "src/base/settings.h"
#include "src/base/text.h"
#include "src/device/sim/sim_device.h"

namespace comity {

Result<std::unique_ptr<DeviceRegistry>> DeviceRegistry::open() {
  return open(setting_text("COMITY_DEVICES"));
}

Result<std::unique_ptr<DeviceRegistry>> DeviceRegistry::open(std::string_view names) {
  std::unique_ptr<DeviceRegistry> registry(new DeviceRegistry);
  bool host_listed = false;
  for (const std::string_view name : split(names)) {
    if ((name == "host" && std::exchange(host_listed, true)) ||
        (name != "host" && registry->find(name) != nullptr)) {
      return Status(Code::kInvalidArgument, fmt::format("COMITY_DEVICES lists \"{}\" twice", name));
    }
    if (name == "host") continue;
    if (name != "sim") {
      return Status(Code::kInvalidArgument,
                    fmt::format("COMITY_DEVICES: \"{}\" is not a device; there are host and sim", name));
    }
    COMITY_ASSIGN_OR_RETURN(auto sim, SimDevice::create());
    registry->others_.push_back(std::move(sim));
  }
  return registry;
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
