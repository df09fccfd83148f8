// The sim device joins the device suite, with several seeds and degrees of lateness.
#include "src/device/sim/sim_device.h"
#include "tests/conformance/device_conformance.h"

namespace comity::conformance {
namespace {

DeviceBackend backend(std::string name, uint64_t seed, uint32_t most_polls) {
  return {std::move(name), [seed, most_polls]() -> std::unique_ptr<Device> {
            auto opened = SimDevice::create({uint64_t{1} << 30, seed, most_polls});
            EXPECT_TRUE(opened.ok()) << opened.status().message();
            return std::move(opened).value();
          }};
}

INSTANTIATE_TEST_SUITE_P(Sim, DeviceConformance,
                         testing::Values(backend("prompt", 1, 1), backend("late", 2, 6),
                                         backend("very_late", 3, 100)),
                         name_of_device_backend);

}  // namespace
}  // namespace comity::conformance
