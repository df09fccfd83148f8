// The driver: what one communicator waits for delays nobody else's end, and a call is given up for silence
// alone.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/api/handle.h"
#include "src/api/plans.h"
#include "src/engine/driver.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr uint64_t kLimitMs = 60'000;       // for what must happen
constexpr uint64_t kPromisedMs = 10 * 100;  // what is promised within 100 ms, on a loaded machine

template <typename Happened>
bool wait_until(Happened happened, uint64_t limit_ms = kLimitMs) {
  const Deadline deadline = Deadline::after_ms(limit_ms);
  while (!happened() && !deadline.passed()) std::this_thread::yield();
  return happened();
}

comityResult_t sum(comityComm_t comm, int64_t& in, int64_t& out) {
  return comityAllReduce(&in, &out, 1, comityInt64, comitySum, comm, nullptr);
}

// The parameter: COMITY_TRANSPORTS.
class Abort : public testing::TestWithParam<const char*> {
 protected:
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(Abort, InsideAGroupWaitsForNoOtherCommunicator) {
  Ranks x(3), y(2);
  int64_t one = 1, x_out = 0, y_out = 0, other_out = 0, peer_out = 0;
  std::atomic<bool> group_over{false};
  auto group = std::async(std::launch::async, [&] {
    EXPECT_EQ(comityGroupStart(), comitySuccess);
    EXPECT_EQ(sum(x.comms[0], one, x_out), comitySuccess);
    EXPECT_EQ(sum(y.comms[0], one, y_out), comitySuccess);
    const comityResult_t ended = comityGroupEnd();
    group_over = true;
    return ended;
  });
  auto other = std::async(std::launch::async, [&] { return sum(x.comms[1], one, other_out); });
  ASSERT_TRUE(
      wait_until([&] { return x.comms[0]->in_call && y.comms[0]->in_call && x.comms[1]->in_call.load(); }));
  const uint64_t began = now_ns();
  auto abort =
      std::async(std::launch::async, [&] { return comityCommAbort(std::exchange(x.comms[0], nullptr)); });
  EXPECT_EQ(abort.wait_for(std::chrono::milliseconds(kPromisedMs)), std::future_status::ready)
      << "it waits for a stranger";
  EXPECT_EQ(other.wait_for(std::chrono::milliseconds(kPromisedMs)), std::future_status::ready)
      << "the other ranks were not told";
  EXPECT_LT(now_ns() - began, kPromisedMs * 1'000'000u);
  EXPECT_FALSE(group_over) << "the call on the other communicator goes on";
  // The other communicator's peer comes at last.
  EXPECT_EQ(sum(y.comms[1], one, peer_out), comitySuccess) << comityGetLastError(nullptr);
  EXPECT_EQ(group.get(), comityRemoteError);
  EXPECT_EQ(y_out, 2);
  EXPECT_EQ(abort.get(), comitySuccess);
  EXPECT_EQ(other.get(), comityRemoteError);
}

TEST_P(Abort, EndsABlockingCallOfAnotherThread) {
  Ranks x(2);
  int64_t one = 1, out = 0;
  auto call = std::async(std::launch::async, [&] { return sum(x.comms[0], one, out); });
  ASSERT_TRUE(wait_until([&] { return x.comms[0]->in_call.load(); }));
  const uint64_t began = now_ns();
  EXPECT_EQ(comityCommAbort(std::exchange(x.comms[0], nullptr)), comitySuccess);
  EXPECT_EQ(call.get(), comityRemoteError);
  EXPECT_LT(now_ns() - began, kPromisedMs * 1'000'000u);
}

TEST_P(Abort, OfOneCommunicatorLeavesTheGroupsOthersRight) {
  Ranks x(2), y(2), z(2);
  int64_t one = 1;
  std::array<std::array<int64_t, 3>, 2> out{};
  auto group = [&](size_t rank) {
    EXPECT_EQ(comityGroupStart(), comitySuccess);
    for (int repeat = 0; repeat < 3; ++repeat) {
      EXPECT_EQ(sum(y.comms[rank], one, out[rank][0]), comitySuccess);
      if (rank == 0) {
        EXPECT_EQ(sum(x.comms[0], one, out[rank][1]), comitySuccess);
      }
      EXPECT_EQ(sum(z.comms[rank], one, out[rank][2]), comitySuccess);
    }
    return comityGroupEnd();
  };
  auto first = std::async(std::launch::async, group, 0);
  ASSERT_TRUE(wait_until([&] { return x.comms[0]->in_call.load(); }));
  auto second = std::async(std::launch::async, group, 1);
  EXPECT_EQ(second.get(), comitySuccess) << "nothing of it was aborted";
  EXPECT_EQ(comityCommAbort(std::exchange(x.comms[0], nullptr)), comitySuccess);
  EXPECT_EQ(first.get(), comityRemoteError);
  for (const auto& rank : out) EXPECT_EQ(rank[0] + rank[2], 4);
}

INSTANTIATE_TEST_SUITE_P(Over, Abort, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

// --- Silence -----------------------------------------------------------------------------------------------

TEST(Silence, InSharedMemoryNamesTheRankThatDidNotCome) {
  const ScopedEnv timeout("COMITY_TIMEOUT", "1");
  Ranks ranks(3);
  std::array<std::string, 3> said;
  ranks.run([&](int rank, comityComm_t comm) {
    if (rank == 1) return;
    int64_t in = 1, out = 0;
    EXPECT_EQ(sum(comm, in, out), comityTimeout);
    said[static_cast<size_t>(rank)] = comityGetLastError(comm);
  });
  EXPECT_NE(said[0].find("it waits for rank 1 to enter the call"), std::string::npos) << said[0];
  EXPECT_EQ(said[0], said[2]);
}

// Standard error goes into a pipe, from which the test reads what was said.
TEST(Silence, ThatLastsIsWarnedOfOnceAndNamesWhoIsWaitedFor) {
  Ranks ranks(2);
  std::array<int, 2> said{};
  ASSERT_EQ(::pipe2(said.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const int before = ::dup(2);
  ASSERT_EQ(::dup2(said[1], 2), 2);
  engine::Driver::set_warning_after(1);
  int64_t one = 1, out = 0, other = 0;
  auto waiting = std::async(std::launch::async, [&] { return sum(ranks.comms[0], one, out); });
  std::string text;
  const bool warned = wait_until([&] {
    std::array<char, 512> some{};
    const ssize_t n = ::read(said[0], some.data(), some.size());
    if (n > 0) text.append(some.data(), static_cast<size_t>(n));
    return text.find("(COMITY_TIMEOUT ends such waits)") != std::string::npos;
  });
  EXPECT_EQ(sum(ranks.comms[1], one, other), comitySuccess) << comityGetLastError(nullptr);
  EXPECT_EQ(waiting.get(), comitySuccess) << comityGetLastError(nullptr);
  engine::Driver::set_warning_after(60'000'000'000);
  ::dup2(before, 2);
  for (const int each : {before, said[0], said[1]}) ::close(each);
  EXPECT_TRUE(warned) << text;
  EXPECT_NE(text.find("rank 0: collective 1 has got no further for 0 s; it waits for rank 1"),
            std::string::npos)
      << text;
  EXPECT_EQ(out, 2);
}

TEST(Silence, OverSocketsNamesTheRankThatDidNotSend) {
  const ScopedEnv transports("COMITY_TRANSPORTS", "tcp");
  const ScopedEnv timeout("COMITY_TIMEOUT", "1");
  Ranks ranks(2);
  int64_t in = 1, out = 0;
  EXPECT_EQ(sum(ranks.comms[0], in, out), comityTimeout);
  const std::string said = comityGetLastError(ranks.comms[0]);
  EXPECT_NE(said.find("it waits for rank 1 to send"), std::string::npos) << said;
}

// A peer of which bytes come for a while, but never a whole segment: a slow link as the engine sees it.
class Trickle final : public Transport, public Endpoint {
 public:
  std::string_view name() const override { return "trickle"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t, std::span<const std::byte>) override { return {}; }
  Result<std::span<Endpoint* const>> endpoints(uint32_t) override {
    return std::span<Endpoint* const>(&endpoint_, 1);
  }
  Status progress() override { return {}; }
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper& sleeper) override { sleeper.at_most(0); }
  void disarm(Sleeper&) override {}

  const EndpointTraits& traits() const override { return traits_; }
  bool try_send(const SegmentHeader&, SourceMemory) override { return false; }
  uint64_t transmitted() const override { return 0; }
  bool progress(SegmentSink&) override { return now_ns() < until_ns; }
  const Status& status() const override { return status_; }
  std::string describe() const override { return "trickle"; }

  uint64_t until_ns = 0;

 private:
  std::vector<std::byte> address_;
  EndpointTraits traits_;
  Status status_;
  Endpoint* endpoint_ = this;
};

// Counts what the control plane is told.
class Listener final : public engine::Oversight {
 public:
  bool condemned() const override { return false; }
  Status verdict() const override { return {}; }
  void report(uint64_t) override { ++(now_ns() < quiet_until_ns ? early_reports : reports); }
  void declare(const Status&) override { ++declared; }

  uint64_t quiet_until_ns = 0;
  int early_reports = 0, reports = 0, declared = 0;
};

TEST(Silence, IsWhatTheTimeoutAndReportsCountAndNotTime) {
  constexpr uint64_t kSecond = 1'000'000'000;
  auto devices = DeviceRegistry::open("");
  ASSERT_TRUE(devices.ok());
  const auto topology = topology::from_hosts({"a", "b"});
  auto selection = algorithms::Selection::make(*topology, "");
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  api::SelectedPlans plans(*topology, std::move(selection).value());
  plans.set_rank(0);
  Trickle transport;
  Listener listener;
  engine::CommunicatorOptions options;
  options.nranks = 2;
  options.transports = {&transport};
  options.transport_of_peer = {0, 0};
  options.plans = &plans;
  options.devices = devices->get();
  options.oversight = &listener;
  options.timeout_ns = kSecond;
  engine::Communicator communicator(options);
  std::vector<std::byte> buffer(1 << 20);
  const uint64_t began = now_ns();
  transport.until_ns = listener.quiet_until_ns = began + 5 * kSecond / 2;
  engine::Call call;
  call.collective = Collective::kBroadcast;
  call.count = buffer.size();
  call.root = 1;
  call.output = buffer.data();
  const Status status = communicator.run(call);
  EXPECT_GE(now_ns() - began, 7 * kSecond / 2) << "it got on for 2.5 s, and a second more is allowed";
  EXPECT_EQ(status.code(), Code::kTimeout);
  EXPECT_NE(status.message().find("rank 1 to send"), std::string_view::npos) << status.message();
  EXPECT_EQ(listener.early_reports, 0) << "a call that gets on is nobody's question";
  EXPECT_GE(listener.reports, 1);
  EXPECT_EQ(listener.declared, 1);
}

// One element of memory, which is copied when the test lets it be.
class Reluctant final : public Device {
 public:
  std::string_view name() const override { return "reluctant"; }
  bool owns(const void* pointer, uint64_t) const override { return pointer == &element; }
  bool host_addressable() const override { return false; }
  Result<void*> allocate(uint64_t) override { return Status(Code::kUnsupported, "no memory"); }
  Status release(void*) override { return {}; }
  Result<MemoryHandle> export_memory(const void*, uint64_t) const override {
    return Status(Code::kUnsupported, "no handles");
  }
  uint32_t queue_count() const override { return 1; }
  Result<Token> copy(uint32_t, void* destination, const void*, uint64_t bytes) override {
    target_ = destination;
    bytes_ = bytes;
    asked = true;
    return Token{1};
  }
  Result<Token> reduce(uint32_t, const ReduceWork&) override { return Status(Code::kUnsupported, "no"); }
  Result<bool> poll(uint32_t, Token token) override {
    if (token == 0 || !willing) return token == 0;
    std::memcpy(target_, &element, bytes_);
    return true;
  }

  const int64_t element = 3;
  std::atomic<bool> asked{false}, willing{false};

 private:
  void* target_ = nullptr;
  uint64_t bytes_ = 0;
};

// A communicator of one rank, and a premulsum whose scalar lies on a device.
class ScalarOfADevice : public testing::Test {
 protected:
  ScalarOfADevice() {
    auto owned = std::make_unique<Reluctant>();
    device_ = owned.get();
    std::vector<std::unique_ptr<Device>> others;
    others.push_back(std::move(owned));
    devices_ = DeviceRegistry::of(std::move(others));
    const auto topology = topology::from_hosts({"a"});
    plans_.emplace(*topology, algorithms::Selection::make(*topology, "").value());
    plans_->set_rank(0);
    call_.collective = Collective::kAllReduce;
    call_.type = DataType::kInt64;
    call_.count = in_.size();
    call_.input = in_.data();
    call_.output = out_.data();
    call_.scalar.used = true;
    call_.scalar.pointer = &device_->element;
  }
  std::unique_ptr<engine::Communicator> communicator(uint64_t timeout_ns) {
    engine::CommunicatorOptions options;
    options.transport_of_peer = {0};
    options.plans = &*plans_;
    options.devices = devices_.get();
    options.timeout_ns = timeout_ns;
    return std::make_unique<engine::Communicator>(std::move(options));
  }

  Reluctant* device_;
  std::unique_ptr<DeviceRegistry> devices_;
  std::optional<api::SelectedPlans> plans_;
  std::array<int64_t, 3> in_{1, 2, 3}, out_{};
  engine::Call call_;
};

TEST_F(ScalarOfADevice, ThatNeverComesEndsTheCallByItsTimeout) {
  const auto rank = communicator(200'000'000);
  const Status status = rank->run(call_);
  EXPECT_EQ(status.code(), Code::kTimeout);
  EXPECT_NE(status.message().find("it waits for its device"), std::string_view::npos) << status.message();
}

TEST_F(ScalarOfADevice, ThatNeverComesIsEndedByAnAbort) {
  auto rank = communicator(0);
  auto running = std::async(std::launch::async, [&] { return rank->run(call_); });
  EXPECT_TRUE(wait_until([&] { return device_->asked.load(); }));
  rank->abort();
  EXPECT_EQ(running.get().code(), Code::kRemoteError);
  rank.reset();
  device_->willing = true;
  EXPECT_TRUE(device_->poll(0, 1).value()) << "it may still write where it was told to";
}

TEST_F(ScalarOfADevice, ThatComesLateIsWaitedFor) {
  const auto rank = communicator(0);
  auto running = std::async(std::launch::async, [&] { return rank->run(call_); });
  EXPECT_TRUE(wait_until([&] { return device_->asked.load(); }));
  device_->willing = true;
  const Status status = running.get();
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(out_, (std::array<int64_t, 3>{3, 6, 9}));
}

}  // namespace
}  // namespace comity::test
