// A vendor's runtime: its table of functions (comity/plugin/device_abi.h), checked once and started.
//
//   file -> dlopen -> comityDevicePlugin() -> size, ABI, entries checked -> start() -> DeviceRuntime
//
// What is refused says which sentence of the contract does not hold. A table that was started stays for as
// long as somebody holds it; a child of fork() gets kUnsupported from every device of its parent's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "comity/plugin/device_abi.h"
#include "comity/plugin/result.h"

namespace comity {

class DeviceRuntime {
 public:
  // Checks and starts a table. `from`: where it is from, for errors. Blocks as start() does.
  // kUnsupported: there is no runtime or no device here. kInvalidUsage: the table breaks the contract.
  static Result<std::shared_ptr<DeviceRuntime>> open(const comityDeviceTable* table, std::string from);
  // Opens the shared library first. kUnsupported too: it does not open or exports no comityDevicePlugin.
  static Result<std::shared_ptr<DeviceRuntime>> load(const std::string& file);
  ~DeviceRuntime();
  DeviceRuntime(const DeviceRuntime&) = delete;
  DeviceRuntime& operator=(const DeviceRuntime&) = delete;

  std::string_view name() const { return table_.name; }
  const std::string& from() const { return from_; }
  uint32_t device_count() const { return device_count_; }
  // Entries that the plugin does not know, or does not have, are null.
  const comityDeviceTable& table() const { return table_; }
  // What a function answered, as a Status: "opencl: copy: why".
  Status status(int32_t result, std::string_view function) const;
  // Success in the process that started it.
  Status usable() const;

 private:
  DeviceRuntime(const comityDeviceTable& table, std::string from);
  const comityDeviceTable table_;
  const std::string from_;
  const uint32_t era_;
  uint32_t device_count_ = 0;
};

}  // namespace comity
