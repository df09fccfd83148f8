// Which devices a process uses, and whose a pointer is.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "src/device/host/host_device.h"

namespace comity {

// The host, always, and others as the setting COMITY_DEVICES lists them ("host,opencl"): all devices of a
// runtime by its name, one by "opencl:1", a plugin's by its name or its file. Its devices do not change once
// open; every method may be called from any thread.
class DeviceRegistry {
 public:
  // Opens what COMITY_DEVICES lists. kInvalidArgument: an unknown or repeated name; kInvalidUsage: a plugin
  // that breaks its contract; kSystemError: a device did not open; kUnhandledDeviceError: its runtime failed.
  static Result<std::unique_ptr<DeviceRegistry>> open();
  // The same for a given list, comma-separated; "" is the host alone.
  static Result<std::unique_ptr<DeviceRegistry>> open(std::string_view names);
  // The host and these.
  static std::unique_ptr<DeviceRegistry> of(std::vector<std::unique_ptr<Device>> others);

  // The device that owns [pointer, pointer + bytes): one that claims it, else the host. A few compares; never
  // blocks.
  Device& device_of(const void* pointer, uint64_t bytes) const {
    for (const auto& device : others_) {
      if (device->owns(pointer, bytes)) return *device;
    }
    return *host_;
  }
  Device& host() const { return *host_; }
  bool only_host() const { return others_.empty(); }
  // By its whole name, or a runtime's for its device 0. Null if it is not open.
  Device* find(std::string_view name) const;
  // The host first, then the others in the order of the list.
  std::vector<Device*> all() const;
  // Keeps memory that queued work, which nobody can recall, may still write: as long as the devices.
  void keep(std::shared_ptr<void> memory);

 private:
  DeviceRegistry() : host_(std::make_unique<HostDevice>()) {}
  Status add(std::string_view name);
  std::mutex mutex_;                         // guards kept_
  std::vector<std::shared_ptr<void>> kept_;  // outlives the devices
  std::unique_ptr<HostDevice> host_;
  std::vector<std::unique_ptr<Device>> others_;
};

}  // namespace comity
