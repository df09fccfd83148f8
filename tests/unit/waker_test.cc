// A thread that waits for shared memory and for sockets at once sleeps, and whatever it waits for wakes it:
// here sleeps last a minute unless something ends them, so that a wake-up that is lost fails the test.
#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "src/api/handle.h"
#include "src/base/berth.h"
#include "src/base/clock.h"
#include "src/engine/driver.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr uint64_t kLongestNs = 60'000'000'000;
constexpr auto kLimit = std::chrono::seconds(30);

bool wait_until(const std::function<bool()>& happened) {
  const Deadline deadline = Deadline::after_ms(30'000);
  while (!happened() && !deadline.passed()) std::this_thread::yield();
  return happened();
}

comityResult_t sum(comityComm_t comm, int64_t& out, comityStream_t stream = nullptr) {
  static const int64_t one = 1;
  return comityAllReduce(&one, &out, 1, comityInt64, comitySum, comm, stream);
}

struct Made {
  explicit Made(const char* transports, int nranks = 2)
      : transports_("COMITY_TRANSPORTS", transports), ranks(nranks) {}

 private:
  ScopedEnv transports_;

 public:
  Ranks ranks;
};

// Two ranks on one core: posts in shared memory are fenced, and sleeps there as long as elsewhere.
class Waker : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::sched_getaffinity(0, sizeof(before_), &before_), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before_)) ++cpu;
    CPU_SET(cpu, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
    engine::Driver::set_longest_sleep(kLongestNs);
  }
  void TearDown() override {
    engine::Driver::set_longest_sleep(10'000'000);
    ::sched_setaffinity(0, sizeof(before_), &before_);
  }

  cpu_set_t before_{};
};

// Rank 0 asleep in a group over a communicator in shared memory and one over sockets.
class MixedGroup : public Waker {
 protected:
  void SetUp() override {
    Waker::SetUp();
    shm = std::make_unique<Made>("shm");
    tcp = std::make_unique<Made>("tcp");
    for (Made* made : {shm.get(), tcp.get()}) {  // connections stand, calls are bound
      made->ranks.run([](int, comityComm_t comm) {
        int64_t out = 0;
        EXPECT_EQ(sum(comm, out), comitySuccess);
      });
    }
    const uint64_t begun = sleep_counts().begun;
    group = std::async(std::launch::async, [this, on_shm = mine(*shm), on_tcp = mine(*tcp)] {
      EXPECT_EQ(comityGroupStart(), comitySuccess);
      EXPECT_EQ(sum(on_shm, shm_out), comitySuccess);
      EXPECT_EQ(sum(on_tcp, tcp_out), comitySuccess);
      return comityGroupEnd();
    });
    ASSERT_TRUE(wait_until([&] { return sleep_counts().begun != begun; }));
  }
  static comityComm_t& mine(Made& made) { return made.ranks.comms[0]; }
  static comityComm_t& other(Made& made) { return made.ranks.comms[1]; }
  // The other rank's part.
  void come(Made& made) {
    int64_t out = 0;
    EXPECT_EQ(sum(other(made), out), comitySuccess) << comityGetLastError(nullptr);
    EXPECT_EQ(out, 2);
  }
  void expect_end(comityResult_t end) {
    ASSERT_EQ(group.wait_for(kLimit), std::future_status::ready) << "nothing woke it";
    EXPECT_EQ(group.get(), end);
  }

  std::unique_ptr<Made> shm, tcp;
  int64_t shm_out = 0, tcp_out = 0;
  std::future<comityResult_t> group;
};

TEST_F(MixedGroup, SleepsUntilSomethingComes) {
  const SleepCounts before = sleep_counts();
  const Deadline while_waiting = Deadline::after_ms(300);
  ASSERT_TRUE(wait_until([&] { return while_waiting.passed(); }));
  EXPECT_LE(sleep_counts().begun - before.begun, 3u) << "nothing happened";
  come(*shm);
  come(*tcp);
  expect_end(comitySuccess);
}

TEST_F(MixedGroup, IsWokenByASocketThenByAWord) {
  come(*tcp);
  ASSERT_TRUE(wait_until([&] { return !mine(*tcp)->in_call; })) << "nothing woke it";
  come(*shm);
  expect_end(comitySuccess);
  EXPECT_EQ(shm_out + tcp_out, 4);
}

TEST_F(MixedGroup, IsWokenByAWordThenByASocket) {
  come(*shm);
  ASSERT_TRUE(wait_until([&] { return !mine(*shm)->in_call; })) << "nothing woke it";
  come(*tcp);
  expect_end(comitySuccess);
  EXPECT_EQ(shm_out + tcp_out, 4);
}

TEST_F(MixedGroup, IsWokenByAnAbort) {
  for (Made* made : {shm.get(), tcp.get()}) {
    auto abort =
        std::async(std::launch::async, [&] { return comityCommAbort(std::exchange(mine(*made), nullptr)); });
    ASSERT_EQ(abort.wait_for(kLimit), std::future_status::ready) << "nothing woke it";
    EXPECT_EQ(abort.get(), comitySuccess);
  }
  expect_end(comityRemoteError);
}

TEST_F(MixedGroup, IsWokenByAVerdict) {
  for (Made* made : {shm.get(), tcp.get()})
    EXPECT_EQ(comityCommAbort(std::exchange(other(*made), nullptr)), comitySuccess);
  expect_end(comityRemoteError);
}

// The progress thread sleeps in calls of both kinds when it is given more.
TEST_F(Waker, NewWorkWakesTheProgressThread) {
  Made shm("shm"), tcp("tcp"), late("tcp");
  std::array<comityStream_t, 3> streams{};
  for (comityStream_t& stream : streams) ASSERT_EQ(comityStreamCreate(&stream), comitySuccess);
  std::array<int64_t, 3> out{};
  const auto enqueue = [&](size_t at, Made& made) {
    EXPECT_EQ(sum(made.ranks.comms[0], out[at], streams[at]), comitySuccess);
  };
  const auto come = [&](size_t at, Made& made) {
    int64_t other = 0;
    auto call = std::async(std::launch::async, [&] { return sum(made.ranks.comms[1], other); });
    auto end = std::async(std::launch::async, [&] { return comityStreamSynchronize(streams[at]); });
    ASSERT_EQ(end.wait_for(kLimit), std::future_status::ready) << "nothing woke it";
    EXPECT_EQ(end.get(), comitySuccess);
    EXPECT_EQ(call.get(), comitySuccess);
  };
  const uint64_t begun = sleep_counts().begun;
  enqueue(0, shm);
  enqueue(1, tcp);
  ASSERT_TRUE(wait_until([&] { return sleep_counts().begun >= begun + 1; }));
  enqueue(2, late);
  come(2, late);
  come(0, shm);
  come(1, tcp);
  EXPECT_EQ(out, (std::array<int64_t, 3>{2, 2, 2}));
  for (comityStream_t stream : streams) EXPECT_EQ(comityStreamDestroy(stream), comitySuccess);
}

// How often the library's threads gave their core away: each wake-up is one.
uint64_t switches_of_our_threads() {
  uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name, word;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name.rfind("comity", 0) != 0) continue;
    std::ifstream status(task.path() / "status");
    while (status >> word && word != "voluntary_ctxt_switches:") {
    }
    uint64_t count = 0;
    if (status >> count) sum += count;
  }
  return sum;
}

TEST_F(Waker, IdleCommunicatorsWakeNobody) {
  Made shm("shm"), tcp("tcp");
  comityStream_t stream = nullptr;
  ASSERT_EQ(comityStreamCreate(&stream), comitySuccess);
  for (Made* made : {&shm, &tcp}) {  // by the progress thread, which then has nothing to do
    int64_t out = 0, other = 0;
    EXPECT_EQ(sum(made->ranks.comms[0], out, stream), comitySuccess);
    EXPECT_EQ(sum(made->ranks.comms[1], other), comitySuccess);
    EXPECT_EQ(comityStreamSynchronize(stream), comitySuccess);
  }
  // What ranks still tell each other after they met is over when a while is quiet; nothing of it comes for
  // ever.
  uint64_t least = UINT64_MAX;
  for (int tries = 0; tries < 20 && least > 5; ++tries) {
    const uint64_t before = switches_of_our_threads(), sleeps = sleep_counts().begun;
    const Deadline idle = Deadline::after_ms(200);
    ASSERT_TRUE(wait_until([&] { return idle.passed(); }));
    least = std::min(least, switches_of_our_threads() - before);
    EXPECT_EQ(sleep_counts().begun, sleeps) << "an idle communicator is nobody's call";
  }
  EXPECT_LE(least, 5u) << "wake-ups in 200 ms";
  EXPECT_EQ(comityStreamDestroy(stream), comitySuccess);
}

// Two threads of one rank sleep in calls of two communicators over the same sockets.
TEST_F(Waker, ThreadsThatShareConnectionsAreWokenEach) {
  Made made("tcp");
  std::array<comityComm_t, 2> split{};
  made.ranks.run([&](int rank, comityComm_t comm) {
    EXPECT_EQ(comityCommSplit(comm, 0, rank, &split[static_cast<size_t>(rank)], nullptr), comitySuccess);
  });
  for (int round = 0; round < 20; ++round) {
    std::array<int64_t, 4> out{};
    const uint64_t begun = sleep_counts().begun;
    auto parent = std::async(std::launch::async, [&] { return sum(made.ranks.comms[0], out[0]); });
    auto child = std::async(std::launch::async, [&] { return sum(split[0], out[1]); });
    ASSERT_TRUE(wait_until([&] { return sleep_counts().begun >= begun + 2; }));
    std::array<comityComm_t, 2> come{made.ranks.comms[1], split[1]};
    if (round % 2 != 0) std::swap(come[0], come[1]);
    auto first = std::async(std::launch::async, [&] { return sum(come[0], out[2]); });
    auto second = std::async(std::launch::async, [&] { return sum(come[1], out[3]); });
    for (auto* each : {&parent, &child, &first, &second}) {
      ASSERT_EQ(each->wait_for(kLimit), std::future_status::ready) << "nothing woke it, round " << round;
      EXPECT_EQ(each->get(), comitySuccess);
    }
    EXPECT_EQ(out, (std::array<int64_t, 4>{2, 2, 2, 2}));
  }
  for (comityComm_t comm : split) EXPECT_EQ(comityCommDestroy(comm), comitySuccess);
}

}  // namespace
}  // namespace comity::test
