// The conformance suite of devices: what a table of functions claims, what of that holds on this machine, and
// what it measures. Any maker's table, on the maker's own machine (docs/porting-a-device.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/device/table/runtime.h"

namespace comity::cli {

struct Checked {
  enum class Outcome : uint8_t { kHolds, kFails, kAbsent };
  std::string what;  // the sentence of the contract
  Outcome outcome = Outcome::kHolds;
  std::string detail;  // why it fails, or what is absent
};

struct Figure {
  std::string what;
  double value = 0;
  std::string unit;
};

struct DeviceReport {
  std::string name;  // "opencl:0"
  comityDeviceProperties properties{};
  std::vector<Checked> checks;
  std::vector<Figure> figures;
  uint32_t count(Checked::Outcome outcome) const;
  bool holds() const { return count(Checked::Outcome::kFails) == 0; }
};

struct CheckOptions {
  bool measures = true;
  uint64_t patience_ms = 60'000;  // for one event
  uint64_t held_ms = 50;          // for which what must not begin is watched
};

// Runs every check on one device. Blocks for seconds. Never throws; an error of the table's is a check that
// fails.
DeviceReport check_device(const std::shared_ptr<DeviceRuntime>& runtime, uint32_t number,
                          const CheckOptions& options);

}  // namespace comity::cli
