// Bad input: each gets a clear error, and what was there before goes on working.
#include <gtest/gtest.h>

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstring>

#include "src/base/socket.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSlower = 20;
#else
constexpr int kSlower = 1;
#endif

std::string last() {
  return comityGetLastError(nullptr);
}

void expect_works(Ranks& ranks) {
  ranks.run([](int rank, comityComm_t comm) {
    int64_t in = rank + 1, out = 0;
    int count = 0;
    ASSERT_EQ(comityCommCount(comm, &count), comitySuccess);
    ASSERT_EQ(comityAllReduce(&in, &out, 1, comityInt64, comitySum, comm, nullptr), comitySuccess) << last();
    EXPECT_EQ(out, int64_t{count} * (count + 1) / 2);
  });
}

class BadInput : public testing::TestWithParam<const char*> {
 protected:
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Over, BadInput, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(BadInput, ArgumentsAreRefusedWithoutEffect) {
  Ranks ranks(2);
  comityComm_t comm = ranks.comms[0];
  alignas(64) std::array<float, 16> in{}, out{};
  auto* crooked = reinterpret_cast<float*>(reinterpret_cast<char*>(in.data()) + 2);
  EXPECT_EQ(comityAllReduce(nullptr, out.data(), 4, comityFloat32, comitySum, comm, nullptr),
            comityInvalidArgument);
  EXPECT_NE(last().find("sendbuff is NULL"), std::string::npos) << last();
  EXPECT_EQ(comityAllReduce(in.data(), nullptr, 4, comityFloat32, comitySum, comm, nullptr),
            comityInvalidArgument);
  EXPECT_NE(last().find("recvbuff is NULL"), std::string::npos) << last();
  EXPECT_EQ(comityAllReduce(crooked, out.data(), 4, comityFloat32, comitySum, comm, nullptr),
            comityInvalidArgument);
  EXPECT_NE(last().find("not a multiple of the type's size, 4"), std::string::npos) << last();
  EXPECT_EQ(comityAllReduce(in.data(), out.data(), SIZE_MAX, comityFloat32, comitySum, comm, nullptr),
            comityInvalidArgument);
  EXPECT_NE(last().find("more than an address space holds"), std::string::npos) << last();
  EXPECT_EQ(comityAllGather(in.data(), out.data(), SIZE_MAX / 4, comityFloat32, comm, nullptr),
            comityInvalidArgument);
  EXPECT_EQ(
      comityAllReduce(in.data(), out.data(), 4, static_cast<comityDataType_t>(12), comitySum, comm, nullptr),
      comityInvalidArgument);
  EXPECT_NE(last().find("datatype 12"), std::string::npos) << last();
  EXPECT_EQ(
      comityAllReduce(in.data(), out.data(), 4, comityFloat32, static_cast<comityRedOp_t>(-1), comm, nullptr),
      comityInvalidArgument);
  EXPECT_EQ(comityBroadcast(in.data(), out.data(), 4, comityFloat32, 2, comm, nullptr),
            comityInvalidArgument);
  EXPECT_NE(last().find("root 2 is not in 0..1"), std::string::npos) << last();
  EXPECT_EQ(comityReduce(in.data(), out.data(), 4, comityFloat32, comitySum, -1, comm, nullptr),
            comityInvalidArgument);
  auto* stream = reinterpret_cast<comityStream_t>(&in);
  EXPECT_EQ(comityAllReduce(in.data(), out.data(), 4, comityFloat32, comitySum, comm, stream),
            comityInvalidArgument);
  EXPECT_NE(last().find("this is no stream"), std::string::npos) << last();
  comityResult_t async = comityInternalError;
  EXPECT_EQ(comityCommGetAsyncError(comm, &async), comitySuccess);
  EXPECT_EQ(async, comitySuccess);
  expect_works(ranks);
}

TEST_P(BadInput, HandlesThatAreNoneOrDeadAreRefused) {
  float x = 0;
  EXPECT_EQ(comityAllReduce(&x, &x, 1, comityFloat32, comitySum, nullptr, nullptr), comityInvalidArgument);
  EXPECT_NE(last().find("comm is NULL"), std::string::npos) << last();
  Ranks ranks(2);
  comityComm_t dead = ranks.comms[0];
  for (comityComm_t& comm : ranks.comms)
    EXPECT_EQ(comityCommDestroy(std::exchange(comm, nullptr)), comitySuccess);
  EXPECT_EQ(comityAllReduce(&x, &x, 1, comityFloat32, comitySum, dead, nullptr), comityInvalidArgument);
  EXPECT_NE(last().find("was destroyed"), std::string::npos) << last();
  EXPECT_EQ(comityCommDestroy(dead), comityInvalidArgument);
  EXPECT_EQ(comityCommAbort(dead), comityInvalidArgument);
  int count = 0;
  EXPECT_EQ(comityCommCount(dead, &count), comityInvalidArgument);
  EXPECT_EQ(comityBarrier(dead, nullptr), comityInvalidArgument);
}

// What two ranks call instead of the same.
struct Mismatch {
  const char* name;
  std::function<comityResult_t(int rank, void* in, void* out, comityComm_t)> call;
  const char* first;  // what the error says of the calls
  const char* second;
};

std::vector<Mismatch> mismatches() {
  return {
      {"collectives",
       [](int r, void* in, void* out, comityComm_t c) {
         return r == 0 ? comityAllReduce(in, out, 2, comityFloat32, comitySum, c, nullptr)
                       : comityBroadcast(in, out, 2, comityFloat32, 0, c, nullptr);
       },
       "all_reduce", "broadcast"},
      {"counts",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityAllReduce(in, out, r == 0 ? 2 : 1, comityFloat32, comitySum, c, nullptr);
       },
       "2 float32", "1 float32"},
      {"counts_far_apart",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityAllReduce(in, out, r == 0 ? 2 : 50'000, comityFloat32, comitySum, c, nullptr);
       },
       "2 float32", "50000 float32"},
      {"zero_count",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityAllReduce(in, out, r == 0 ? 2 : 0, comityFloat32, comitySum, c, nullptr);
       },
       "2 float32", "0 float32"},
      {"types",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityAllReduce(in, out, 2, r == 0 ? comityFloat32 : comityInt32, comitySum, c, nullptr);
       },
       "float32", "int32"},
      {"ops",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityAllReduce(in, out, 2, comityFloat32, r == 0 ? comitySum : comityMax, c, nullptr);
       },
       "sum", "max"},
      {"roots",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityReduce(in, out, 2, comityFloat32, comitySum, r, c, nullptr);
       },
       "root 0", "root 1"},
      {"barrier",
       [](int r, void* in, void* out, comityComm_t c) {
         return r == 0 ? comityAllGather(in, out, 2, comityFloat32, c, nullptr) : comityBarrier(c, nullptr);
       },
       "all_gather", "barrier"},
      {"large",
       [](int r, void* in, void* out, comityComm_t c) {
         return comityAllReduce(in, out, r == 0 ? 40'000 : 50'000, comityFloat32, comitySum, c, nullptr);
       },
       "40000 float32", "50000 float32"},
  };
}

// The error reaches a rank from the call, from GetAsyncError, or from the next call.
std::pair<comityResult_t, std::string> error_within_a_second(comityComm_t comm, comityResult_t from_call) {
  if (from_call != comitySuccess) return {from_call, last()};
  const auto deadline = steady_clock::now() + milliseconds(5000);
  comityResult_t async = comitySuccess;
  while (async == comitySuccess && steady_clock::now() < deadline) {
    EXPECT_EQ(comityCommGetAsyncError(comm, &async), comitySuccess);
    std::this_thread::yield();
  }
  return {async, comityGetLastError(comm)};
}

TEST_P(BadInput, MismatchedCallsGiveEveryRankAnErrorThatNamesBoth) {
  for (const Mismatch& mismatch : mismatches()) {
    Ranks ranks(2);
    const auto began = steady_clock::now();
    ranks.run([&](int rank, comityComm_t comm) {
      std::vector<float> in(100'000), out(100'000);
      const auto [result, text] =
          error_within_a_second(comm, mismatch.call(rank, in.data(), out.data(), comm));
      EXPECT_EQ(result, comityInvalidUsage) << mismatch.name << ": " << text;
      EXPECT_NE(text.find(mismatch.first), std::string::npos) << mismatch.name << ": " << text;
      EXPECT_NE(text.find(mismatch.second), std::string::npos) << mismatch.name << ": " << text;
      EXPECT_NE(comityBarrier(comm, nullptr), comitySuccess)
          << mismatch.name << ": the communicator is unusable afterwards";
    });
    EXPECT_LT(steady_clock::now() - began, milliseconds(3000) * kSlower) << mismatch.name;
  }
}

TEST_P(BadInput, AbortFromAnotherThreadUnblocksAPendingCall) {
  Ranks ranks(3);
  const std::vector<comityComm_t> comms = ranks.comms;
  std::atomic<int> waiting{0};
  std::array<steady_clock::time_point, 3> returned;
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {  // rank 2 never comes
    threads.emplace_back([&, r] {
      float in = 1, out = 0;
      ++waiting;
      EXPECT_EQ(
          comityAllReduce(&in, &out, 1, comityFloat32, comitySum, comms[static_cast<size_t>(r)], nullptr),
          comityRemoteError);
      returned[static_cast<size_t>(r)] = steady_clock::now();
    });
  }
  while (waiting < 2) std::this_thread::yield();
  const auto aborted = steady_clock::now();
  EXPECT_EQ(comityCommAbort(std::exchange(ranks.comms[0], nullptr)), comitySuccess);
  for (auto& thread : threads) thread.join();
  EXPECT_LT(returned[0] - aborted, milliseconds(100) * kSlower);
  EXPECT_LT(returned[1] - aborted, milliseconds(1000) * kSlower) << "other ranks hear of it";
}

TEST(BadInit, RanksOutsideTheCommunicatorAreRefused) {
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << last();
  comityComm_t comm = nullptr;
  EXPECT_EQ(comityCommInitRank(&comm, 2, id, 2), comityInvalidArgument);
  EXPECT_NE(last().find("rank 2 is not in 0..1"), std::string::npos) << last();
  EXPECT_EQ(comityCommInitRank(&comm, 2, id, -1), comityInvalidArgument);
  EXPECT_EQ(comityCommInitRank(&comm, 0, id, 0), comityInvalidArgument);
  EXPECT_EQ(comityCommInitRank(nullptr, 1, id, 0), comityInvalidArgument);
  EXPECT_EQ(comm, nullptr);
  EXPECT_EQ(comityGetUniqueId(nullptr), comityInvalidArgument);
}

TEST(BadInit, AMissingRankIsNamedWhenTheTimePassed) {
  const ScopedEnv timeout("COMITY_INIT_TIMEOUT_MS", "700");
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << last();
  std::vector<std::thread> threads;
  for (const int rank : {0, 2}) {
    threads.emplace_back([&, rank] {
      comityComm_t comm = nullptr;
      EXPECT_EQ(comityCommInitRank(&comm, 3, id, rank), comityTimeout) << last();
      EXPECT_NE(last().find("missing"), std::string::npos) << last();
      EXPECT_NE(last().find('1'), std::string::npos) << last();
      EXPECT_EQ(comm, nullptr);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(BadInit, ARankGivenTwiceIsNamed) {
  const ScopedEnv timeout("COMITY_INIT_TIMEOUT_MS", "3000");
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << last();
  std::atomic<int> named{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      comityComm_t comm = nullptr;
      const comityResult_t result = comityCommInitRank(&comm, 3, id, 1);
      EXPECT_NE(result, comitySuccess);
      if (last().find("rank 1") != std::string::npos && result == comityInvalidArgument) ++named;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_GE(named, 1);
}

TEST(BadInit, AWrongSecretIsRefusedAndTheOthersMeet) {
  const ScopedEnv timeout("COMITY_INIT_TIMEOUT_MS", "5000");
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << last();
  comityComm_t comm = nullptr;
  comityUniqueId zero{};
  EXPECT_EQ(comityCommInitRank(&comm, 2, zero, 0), comityInvalidArgument) << last();
  std::vector<std::thread> threads;
  std::array<comityComm_t, 2> comms{};
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      EXPECT_EQ(comityCommInitRank(&comms[static_cast<size_t>(rank)], 2, id, rank), comitySuccess) << last();
    });
  }
  for (auto& thread : threads) thread.join();
  for (comityComm_t each : comms) EXPECT_EQ(comityCommDestroy(each), comitySuccess) << last();
}

TEST(BadInit, APortInUseIsNamed) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(taken, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(taken, 1), 0);
  const uint16_t port = local_address_of(taken).port();
  const ScopedEnv bound("COMITY_SOCKET_ADDRESS", fmt::format("127.0.0.1:{}", port));
  comityUniqueId id;
  EXPECT_EQ(comityGetUniqueId(&id), comitySystemError);
  EXPECT_NE(last().find(std::to_string(port)), std::string::npos) << last();
  EXPECT_NE(last().find("in use"), std::string::npos) << last();
  ::close(taken);
}

TEST(BadMemory, SizesBeyondTheCapAreRefused) {
  void* memory = &memory;
  EXPECT_EQ(comityMemAlloc(&memory, size_t{1} << 50), comitySystemError);
  EXPECT_EQ(memory, nullptr);
  EXPECT_NE(last().find("COMITY_ARENA_CAP"), std::string::npos) << last();
  EXPECT_EQ(comityMemAlloc(nullptr, 8), comityInvalidArgument);
  EXPECT_EQ(comityMemAlloc(&memory, 0), comitySuccess);
  EXPECT_EQ(memory, nullptr);
  EXPECT_EQ(comityMemFree(nullptr), comitySuccess);
  int on_stack = 0;
  EXPECT_EQ(comityMemFree(&on_stack), comityInvalidArgument);
  ASSERT_EQ(comityMemAlloc(&memory, 100), comitySuccess) << last();
  std::memset(memory, 1, 100);
  EXPECT_EQ(comityMemFree(memory), comitySuccess);
}

TEST(BadGroup, AnEndWithoutAStartIsRefusedAndARefusedCallSpoilsItsGroup) {
  EXPECT_EQ(comityGroupEnd(), comityInvalidUsage);
  Ranks ranks(2);
  float in = 1, out = 0;
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  EXPECT_EQ(comityAllReduce(&in, &out, 1, comityFloat32, comitySum, ranks.comms[0], nullptr), comitySuccess);
  EXPECT_EQ(comityAllReduce(nullptr, &out, 1, comityFloat32, comitySum, ranks.comms[1], nullptr),
            comityInvalidArgument);
  EXPECT_EQ(comityGroupEnd(), comityInvalidArgument);
  EXPECT_NE(last().find("nothing was carried out"), std::string::npos) << last();
  expect_works(ranks);
}

TEST(Group, OneThreadDrivesSeveralCommunicators) {
  Ranks ranks(4);
  std::array<std::array<int32_t, 1000>, 4> in{}, out{};
  for (int r = 0; r < 4; ++r) in[static_cast<size_t>(r)].fill(r + 1);
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 4; ++r) {
    EXPECT_EQ(
        comityAllReduce(in[r].data(), out[r].data(), 1000, comityInt32, comitySum, ranks.comms[r], nullptr),
        comitySuccess);
    EXPECT_EQ(
        comityAllReduce(out[r].data(), out[r].data(), 1000, comityInt32, comityMax, ranks.comms[r], nullptr),
        comitySuccess);
  }
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (const auto& one : out) {
    for (const int32_t value : one) ASSERT_EQ(value, 10);
  }
}

TEST(Registration, IsAHintThatIsGivenBackOnce) {
  Ranks ranks(1);
  std::array<char, 64> buffer{};
  void* handle = nullptr;
  EXPECT_EQ(comityCommRegister(ranks.comms[0], buffer.data(), 0, &handle), comityInvalidArgument);
  ASSERT_EQ(comityCommRegister(ranks.comms[0], buffer.data(), buffer.size(), &handle), comitySuccess);
  EXPECT_EQ(comityCommDeregister(ranks.comms[0], handle), comitySuccess);
  EXPECT_EQ(comityCommDeregister(ranks.comms[0], handle), comityInvalidArgument);
}

}  // namespace
}  // namespace comity::test
