// Devices behind a table of functions join the device suite: the sim device, and every OpenCL device here.
#include "src/device/runtimes.h"
#include "src/device/table/table_device.h"
#include "tests/conformance/device_conformance.h"

namespace comity::conformance {
namespace {

std::unique_ptr<Device> open(const std::string& runtime, uint32_t number) {
  auto opened = open_runtime(runtime);
  if (!opened.ok()) {
    const Code why = opened.status().code();  // no driver, or built without OpenCL's headers
    EXPECT_TRUE(why == Code::kUnsupported || why == Code::kInvalidArgument) << opened.status().message();
    return nullptr;
  }
  auto device = TableDevice::open(*opened, number);
  EXPECT_TRUE(device.ok()) << device.status().message();
  return device.ok() ? std::move(device).value() : nullptr;
}

INSTANTIATE_TEST_SUITE_P(Table, DeviceConformance,
                         testing::Values(DeviceBackend{"sim", [] { return open("sim", 0); }},
                                         DeviceBackend{"opencl", [] { return open("opencl", 0); },
                                                       "an OpenCL driver (pocl-opencl-icd)"}),
                         name_of_device_backend);

}  // namespace
}  // namespace comity::conformance
