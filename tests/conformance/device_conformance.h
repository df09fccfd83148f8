// What every Device promises, as tests that any device joins.
//
// A backend names a function that opens a fresh device. To join:
//
//   using namespace comity::conformance;
//   std::unique_ptr<Device> open() {
//     auto opened = MyDevice::create();
//     EXPECT_TRUE(opened.ok()) << opened.status().message();
//     return std::move(opened).value();
//   }
//   INSTANTIATE_TEST_SUITE_P(Mine, DeviceConformance, testing::Values(DeviceBackend{"mine", open}),
//                            name_of_device_backend);
//
// and link comity_device_conformance. Reductions are compared bit for bit with an account by definition
// (tests/support/reduce_reference.h).
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/device.h"

namespace comity::conformance {

struct DeviceBackend {
  std::string name;
  std::function<std::unique_ptr<Device>()> open;  // null: what it needs is not here
  std::string needs = {};
};
inline void PrintTo(const DeviceBackend& backend, std::ostream* to) {
  *to << backend.name;
}
std::string name_of_device_backend(const testing::TestParamInfo<DeviceBackend>& tested);

// Holds an open device; what it lends is released with it.
class DeviceConformance : public testing::TestWithParam<DeviceBackend> {
 protected:
  void SetUp() override;
  void TearDown() override;
  Device& device() { return *device_; }
  // Device memory that TearDown releases; null, with a failed expectation, if it was refused.
  std::byte* lend(uint64_t bytes);
  // Device memory with this content, through copy() on queue 0.
  std::byte* lend(std::span<const std::byte> content);
  // The content of device memory, through copy() on queue 0, after what was issued there before.
  std::vector<std::byte> fetch(const void* pointer, uint64_t bytes);
  // Polls until complete; fails if that takes more than a minute.
  void finish(uint32_t queue, Token token);

 private:
  std::unique_ptr<Device> device_;
  std::vector<void*> lent_;
};

}  // namespace comity::conformance
