// The host joins the device suite.
#include "src/device/host/host_device.h"
#include "tests/conformance/device_conformance.h"

namespace comity::conformance {
namespace {

std::unique_ptr<Device> open() {
  return std::make_unique<HostDevice>();
}

INSTANTIATE_TEST_SUITE_P(Host, DeviceConformance, testing::Values(DeviceBackend{"host", open}),
                         name_of_device_backend);

}  // namespace
}  // namespace comity::conformance
