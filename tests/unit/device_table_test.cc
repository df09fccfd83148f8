// A queue behind a table of functions: what the device cannot reduce, long chains, hangs and failures.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "src/base/clock.h"
#include "src/base/hash.h"
#include "src/device/host/kernels.h"
#include "src/device/runtimes.h"
#include "src/device/table/table_device.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

using Bytes = std::vector<std::byte>;

comityDeviceTable changed;  // of the runtime under test

std::unique_ptr<TableDevice> open(const char* name, void (*change)(comityDeviceTable& table) = nullptr) {
  auto runtime = open_runtime(name);
  if (!runtime.ok()) return nullptr;
  if (change != nullptr) {
    static std::shared_ptr<DeviceRuntime> sound;  // its devices live as long as what is made of its table
    sound = *runtime;
    changed = sound->table();
    changed.stop = nullptr;
    change(changed);
    runtime = DeviceRuntime::open(&changed, "a test");
  }
  EXPECT_TRUE(runtime.ok()) << runtime.status().message();
  auto device = TableDevice::open(*runtime, 0);
  EXPECT_TRUE(device.ok()) << device.status().message();
  return std::move(device).value();
}

Bytes random_bytes(uint64_t bytes, uint64_t seed) {
  SplitMix random(seed);
  Bytes content(bytes);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random.next());
  return content;
}

void finish(Device& device, uint32_t queue, Token token) {
  const Deadline deadline = Deadline::after_ms(60'000);
  for (;;) {
    const auto done = device.poll(queue, token);
    ASSERT_TRUE(done.ok()) << done.status().message();
    if (*done) return;
    ASSERT_FALSE(deadline.passed());
  }
}

// Copies in, reduces, copies out, all at once on one queue; compared with the host's kernels.
void expect_reduces(Device& device, DataType type, size_t sources, uint64_t count, uint32_t divisor,
                    const std::vector<uint8_t>& divided = {}) {
  const uint64_t bytes = count * size_of(type);
  std::vector<Bytes> content;
  std::vector<const std::byte*> on_host, on_device;
  std::vector<void*> lent;
  const auto lend = [&] {
    lent.push_back(device.allocate(bytes).value());
    return static_cast<std::byte*>(lent.back());
  };
  for (size_t source = 0; source < sources; ++source) {
    content.push_back(random_bytes(bytes, source + count));
    std::byte* memory = lend();
    ASSERT_TRUE(device.copy(1, memory, content.back().data(), bytes).ok());
    on_device.push_back(memory);
  }
  for (const Bytes& each : content) on_host.push_back(each.data());
  Bytes want(bytes), got[2] = {Bytes(bytes), Bytes(bytes)};
  std::byte* host_results[] = {want.data()};
  std::byte* results[] = {lend(), lend()};
  ReduceWork work;
  work.type = type;
  work.op = RedOp::kSum;
  work.count = count;
  work.divisor = divisor;
  work.divided = divided;
  work.sources = on_host;
  work.destinations = host_results;
  reduce_host(work);
  work.sources = on_device;
  work.destinations = results;
  ASSERT_TRUE(device.reduce(1, work).ok());
  ASSERT_TRUE(device.copy(1, got[0].data(), results[0], bytes).ok());
  const auto last = device.copy(1, got[1].data(), results[1], bytes);
  ASSERT_TRUE(last.ok());
  finish(device, 1, *last);
  EXPECT_EQ(got[0], want) << name_of(type) << ", " << sources << " sources";
  EXPECT_EQ(got[1], want) << "in the second destination";
  for (void* memory : lent) EXPECT_TRUE(device.release(memory).ok());
}

TEST(TableDevice, TheHostReducesWhatTheDeviceCannotInPiecesAndInOrder) {
  const auto device = open("sim", [](auto& table) { table.reduce = nullptr; });
  for (const uint64_t count : {1u, 1009u, 300'007u}) expect_reduces(*device, DataType::kFloat32, 5, count, 3);
  expect_reduces(*device, DataType::kBfloat16, 2, 400'001, 0);
}

TEST(TableDevice, TheHostReducesForADeviceThatIsNotCanonical) {
  const auto device = open("sim", [](auto& table) {
    static int32_t (*base)(uint32_t, comityDeviceProperties*) = nullptr;
    base = table.properties;
    table.properties = [](uint32_t number, comityDeviceProperties* properties) {
      const int32_t result = base(number, properties);
      properties->flags = 0;
      return result;
    };
    table.reduce = [](comityDeviceQueue_t, const comityDeviceReduction*) -> int32_t {
      ADD_FAILURE() << "it is asked to reduce";
      return COMITY_DEVICE_FAILED;
    };
  });
  expect_reduces(*device, DataType::kFloat16, 3, 10'007, 3);
}

TEST(TableDevice, MoreSourcesThanADeviceTakesGoByAccumulators) {
  const auto sim = open("sim");  // takes 3 at once
  expect_reduces(*sim, DataType::kInt32, 11, 10'007, 0);
  expect_reduces(*sim, DataType::kFloat32, 8, 10'007, 8);
  expect_reduces(*sim, DataType::kBfloat16, 7, 10'007, 7);  // which it has not: the host
}

TEST(TableDevice, OpenclFoldsAnyNumberOfSourcesAsTheHostDoes) {
  const auto device = open("opencl");
  if (device == nullptr) GTEST_SKIP() << "needs an OpenCL driver (pocl-opencl-icd)";
  for (const DataType type :
       {DataType::kFloat16, DataType::kFloat8e4m3, DataType::kBfloat16, DataType::kInt8}) {
    expect_reduces(*device, type, 19, 10'007, 0);
    expect_reduces(*device, type, 9, 1009, 9);
  }
  expect_reduces(*device, DataType::kBfloat16, 3, 1009, 5, {0, 1, 0});
  std::vector<uint8_t> divided(17, 0);
  divided[1] = divided[9] = divided[16] = 1;
  expect_reduces(*device, DataType::kFloat16, 17, 1009, 5, divided);
}

TEST(TableDevice, ADeviceOnWhichNothingEndsIsNamed) {
  const ScopedEnv timeout("COMITY_DEVICE_TIMEOUT", "1");
  const auto device = open("sim", [](auto& table) {
    table.event_query = [](comityDeviceEvent_t) -> int32_t { return COMITY_DEVICE_PENDING; };
  });
  void* memory = device->allocate(64).value();
  const Bytes from(64);
  const Token token = device->copy(0, memory, from.data(), 64).value();
  const Deadline deadline = Deadline::after_ms(30'000);
  Result<bool> done = false;
  while ((done = device->poll(0, token)).ok() && !deadline.passed()) EXPECT_FALSE(*done);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.status().code(), Code::kUnhandledDeviceError);
  for (const char* part : {"sim", "device 0", "hangs", "COMITY_DEVICE_TIMEOUT"})
    EXPECT_NE(done.status().message().find(part), std::string::npos) << done.status().message();
  EXPECT_FALSE(device->copy(0, memory, from.data(), 64).ok()) << "the queue is at its end";
}

TEST(TableDevice, WorkThatFailsEndsTheQueueInTheDevicesWords) {
  const auto device = open("sim", [](auto& table) {
    table.event_query = [](comityDeviceEvent_t) -> int32_t { return COMITY_DEVICE_FAILED; };
    table.error_text = [] { return "the device fell off the bus"; };
  });
  void* memory = device->allocate(64).value();
  const Bytes from(64);
  const Token token = device->copy(0, memory, from.data(), 64).value();
  const auto done = device->poll(0, token);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.status().code(), Code::kUnhandledDeviceError);
  EXPECT_NE(done.status().message().find("fell off the bus"), std::string::npos) << done.status().message();
  EXPECT_FALSE(device->copy(0, memory, from.data(), 64).ok());
}

}  // namespace
}  // namespace comity::test
