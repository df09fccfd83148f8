// The adapter of CUDA-like runtimes against fakes of two of them: the conformance suite, the kernels' text,
// and every call of the runtime failing in turn.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/cli/device_check.h"
#include "src/device/runtimes.h"
#include "src/device/table/table_device.h"

namespace comity::test {
namespace {

class Dialects : public testing::TestWithParam<const char*> {};

TEST_P(Dialects, KeepTheContractOfDevices) {
  const auto runtime = open_runtime(GetParam());
  ASSERT_TRUE(runtime.ok()) << runtime.status().message();
  ASSERT_EQ((*runtime)->device_count(), 2u);
  for (uint32_t number = 0; number < 2; ++number) {
    const cli::DeviceReport report = cli::check_device(*runtime, number, {false, 20'000, 50});
    EXPECT_EQ(report.count(cli::Checked::Outcome::kHolds), 22u);
    for (const cli::Checked& check : report.checks)
      EXPECT_EQ(check.outcome, cli::Checked::Outcome::kHolds) << check.what << ": " << check.detail;
  }
}

// A copy to the device, a sum and a copy back; what it says if any of it fails.
Status use(Device& device) {
  constexpr uint64_t kCount = 1009, kBytes = kCount * sizeof(float);
  std::vector<float> values(kCount, 2), result(kCount);
  void* memory[2] = {};
  Status status;
  for (void*& each : memory) {
    const auto made = device.allocate(kBytes);
    if (made.ok())
      each = *made;
    else
      status = made.status();
  }
  Result<Token> last = Token{0};
  for (void* each : memory) {
    if (status.ok() && last.ok()) last = device.copy(0, each, values.data(), kBytes);
  }
  const std::byte* sources[] = {static_cast<std::byte*>(memory[0]), static_cast<std::byte*>(memory[1])};
  std::byte* destination = static_cast<std::byte*>(memory[0]);
  ReduceWork work;
  work.sources = sources;
  work.destinations = std::span(&destination, 1);
  work.count = kCount;
  if (status.ok() && last.ok()) last = device.reduce(0, work);
  if (status.ok() && last.ok()) last = device.copy(0, result.data(), memory[0], kBytes);
  const Deadline deadline = Deadline::after_ms(20'000);
  for (bool done = false; status.ok() && last.ok() && !done;) {
    const auto polled = device.poll(0, *last);
    if (!polled.ok() || deadline.passed())
      status = polled.ok() ? Status(Code::kTimeout, "it hangs") : polled.status();
    done = polled.ok() && *polled;
  }
  if (status.ok()) status = last.status();
  if (status.ok() && result != std::vector<float>(kCount, 4)) status = Status(Code::kInternalError, "wrong");
  // What failed half-way is still on the fake's queues: it keeps what it names.
  if (status.ok()) {
    for (void* each : memory)
      EXPECT_TRUE(device.release(each).ok() || std::getenv("COMITY_FAKE_FAIL_AT") != nullptr);
  } else {
    static auto* const kept = new std::vector<std::vector<float>>();
    kept->push_back(std::move(values));
    kept->push_back(std::move(result));
  }
  return status;
}

TEST_P(Dialects, AFailureOfAnyCallIsAnErrorThatSaysWhichAndNoneIsWrong) {
  const auto runtime = open_runtime(GetParam());
  ASSERT_TRUE(runtime.ok()) << runtime.status().message();
  uint32_t failed = 0;
  for (int at = 1; at < 400; at += 1 + at / 8) {
    ::unsetenv("COMITY_FAKE_FAIL_AT");
    const auto device = TableDevice::open(*runtime, 1);
    ASSERT_TRUE(device.ok()) << device.status().message();
    ASSERT_TRUE(use(**device).ok());
    ::setenv("COMITY_FAKE_FAIL_AT", std::to_string(at).c_str(), 1);
    const Status status = use(**device);
    ::unsetenv("COMITY_FAKE_FAIL_AT");
    if (status.ok()) continue;
    ++failed;
    EXPECT_EQ(status.code(), Code::kUnhandledDeviceError) << at << ": " << status.message();
    EXPECT_NE(status.message().find(GetParam()), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("(999)"), std::string::npos) << status.message();
  }
  EXPECT_GE(failed, 8u);
}

INSTANTIATE_TEST_SUITE_P(Fake, Dialects, testing::Values("cuda", "hip"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test

// The fakes are what the adapter opens by the runtimes' own names, as they are there already.
int main(int argc, char** argv) {
  for (const char* fake : {COMITY_FAKES}) {
    if (::dlopen(fake, RTLD_NOW | RTLD_LOCAL) == nullptr) {
      std::fprintf(stderr, "%s\n", ::dlerror());
      return 1;
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
