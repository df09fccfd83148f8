// Abort storms: ranks of this process make communicators, work, and one or two abort at a random moment. No
// call hangs, and when all is over the process holds what it held before: descriptors, threads, mappings,
// memory. COMITY_TEST_STORM_ROUNDS gives another number of rounds than 30, COMITY_TEST_STORM_SEED another
// beginning.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comity/comity.h"
#include "src/base/berth.h"
#include "src/base/clock.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

using Random = std::mt19937_64;
constexpr size_t kLongest = 300'000;
constexpr uint64_t kAbortNs = 1'000'000'000;  // ten times what is promised

std::atomic<uint64_t> slowest_end_ns{0};

// Of an abort or a destroy that has returned.
void note_end(uint64_t begun_ns) {
  const uint64_t took_ns = now_ns() - begun_ns;
  EXPECT_LT(took_ns, kAbortNs);
  uint64_t slowest = slowest_end_ns;
  while (took_ns > slowest && !slowest_end_ns.compare_exchange_weak(slowest, took_ns)) {
  }
}

uint64_t below(Random& random, uint64_t limit) {
  return random() % limit;
}

uint64_t given(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What the process holds.
struct Held {
  size_t listeners = 0;    // a meeting that failed answers late ranks for a minute
  size_t descriptors = 0;  // all others
  size_t threads = 0, mappings = 0, bytes = 0;
  std::multiset<std::string> what;  // the descriptors are
  static size_t entries(const char* folder) {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }
  static Held now() {
    Held held;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      int listens = 0;
      socklen_t length = sizeof listens;
      const int fd = std::stoi(entry.path().filename().string());
      const bool asked = ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0;
      ++(asked && listens != 0 ? held.listeners : held.descriptors);
      std::error_code gone;
      held.what.insert(std::filesystem::read_symlink(entry.path(), gone).string());
    }
    held.threads = entries("/proc/self/task");
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      // Heaps of threads come and go in malloc: what counts is what the library maps.
      held.mappings += line.find("memfd:") != std::string::npos || line.find("/dev/shm") != std::string::npos;
    }
    held.bytes = mallinfo2().uordblks;
    return held;
  }
  bool is_within(const Held& other, bool listeners_too) const {
    return descriptors <= other.descriptors && threads <= other.threads && mappings <= other.mappings &&
           (!listeners_too || listeners <= other.listeners);
  }
};

// One rank of a round.
class Rank {
 public:
  Rank(int rank, uint64_t program, bool blocking) : rank_(rank), program_(program), blocking_(blocking) {
    for (comityStream_t& stream : streams_) EXPECT_EQ(comityStreamCreate(&stream), comitySuccess);
    EXPECT_EQ(comityEventCreate(&event_), comitySuccess);
  }
  ~Rank() {
    for (comityStream_t stream : streams_) {
      static_cast<void>(comityStreamSynchronize(stream));  // ends, whether well or not
      EXPECT_EQ(comityStreamDestroy(stream), comitySuccess);
    }
    EXPECT_EQ(comityEventDestroy(event_), comitySuccess);
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  // Begins the init of one that does not block.
  void begin(const comityUniqueId& id, int nranks) {
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.blocking = 0;
    EXPECT_EQ(comityCommInitRankConfig(&comm, nranks, id, rank_, &config), comityInProgress);
  }

  // Calls until one fails, as a thread of the rank's own.
  void work() {
    if (!ready()) return;
    Random random(program_);  // the same on all ranks
    while (call(random)) {
    }
  }

  void abort() {
    const uint64_t begun_ns = now_ns();
    const comityResult_t result = comityCommAbort(comm);
    EXPECT_TRUE(result == comitySuccess || result == comityInvalidArgument) << comityGetLastError(nullptr);
    note_end(begun_ns);
  }
  void end(bool by_abort) {
    if (by_abort) return abort();
    const uint64_t begun_ns = now_ns();
    static_cast<void>(comityCommDestroy(comm));
    note_end(begun_ns);
  }

  comityComm_t comm = nullptr;

 private:
  // Whether what was begun on it has ended well.
  static bool wait_for(comityComm_t comm) {
    comityResult_t result = comityInProgress;
    while (result == comityInProgress) {
      if (comityCommGetAsyncError(comm, &result) != comitySuccess) return false;
      std::this_thread::yield();
    }
    return result == comitySuccess;
  }
  bool ready() { return wait_for(comm); }
  comityResult_t reduce(size_t count, comityStream_t stream) {
    return comityAllReduce(buffer_.data(), buffer_.data(), count, comityInt32, comityMax, comm, stream);
  }
  bool group(size_t count, comityStream_t stream) {
    static_cast<void>(comityGroupStart());
    static_cast<void>(reduce(count, stream));
    static_cast<void>(comityBcast(buffer_.data(), count, comityInt32, 0, comm, streams_[1]));
    static_cast<void>(comityBarrier(comm, nullptr));
    const comityResult_t result = comityGroupEnd();
    return result == comitySuccess || (result == comityInProgress && ready());
  }
  // No call on the new one: a rank that the abort kept from it would be missed there for ever.
  bool split(int more) {
    comityComm_t part = nullptr;
    const comityResult_t begun = comityCommSplit(comm, (rank_ + more) % 2, 0, &part, nullptr);
    if (blocking_) return begun == comitySuccess && comityCommDestroy(part) == comitySuccess;
    if (begun != comityInProgress) return false;
    // Some ranks end theirs while it is being made.
    if ((rank_ + more) % 3 != 0) wait_for(part);
    const uint64_t begun_ns = now_ns();
    static_cast<void>(more == 0 ? comityCommAbort(part) : comityCommDestroy(part));
    EXPECT_LT(now_ns() - begun_ns, kAbortNs);
    return ready();
  }
  bool call(Random& random) {
    const size_t count = below(random, 4) == 0 ? below(random, kLongest) : below(random, 64);
    const comityStream_t stream = streams_[below(random, 2)];
    switch (below(random, 7)) {
      case 6:
        return split(static_cast<int>(below(random, 2)));
      case 0:
        return reduce(count, stream) == comitySuccess && comityStreamSynchronize(stream) == comitySuccess;
      case 1:
        for (int i = 0; i < 5; ++i) {
          if (reduce(count, streams_[static_cast<size_t>(i % 2)]) != comitySuccess) return false;
        }
        return comityEventRecord(event_, streams_[0]) == comitySuccess &&
               comityStreamWaitEvent(streams_[1], event_) == comitySuccess;
      case 2:
        return group(count, stream);
      case 3:
        return group(count, nullptr);
      default: {
        const comityResult_t result = reduce(count, nullptr);
        return blocking_ ? result == comitySuccess : result == comityInProgress && ready();
      }
    }
  }

  const int rank_;
  const uint64_t program_;
  const bool blocking_;
  std::array<comityStream_t, 2> streams_{};
  comityEvent_t event_ = nullptr;
  std::vector<int32_t> buffer_ = std::vector<int32_t>(kLongest, 7);
};

void storm(Random& random) {
  const auto nranks = static_cast<int>(2 + below(random, 4));
  const bool blocking = below(random, 3) != 0;
  const char* const kTransports[] = {"shm", "tcp", "shm,tcp"};
  const ScopedEnv transports("COMITY_TRANSPORTS", kTransports[below(random, 3)]);
  const uint64_t program = random();
  std::vector<std::unique_ptr<Rank>> ranks;
  for (int r = 0; r < nranks; ++r) ranks.push_back(std::make_unique<Rank>(r, program, blocking));
  if (blocking) {
    std::vector<comityComm_t> comms(ranks.size());
    ASSERT_EQ(comityCommInitAll(comms.data(), nranks, nullptr), comitySuccess) << comityGetLastError(nullptr);
    for (size_t r = 0; r < ranks.size(); ++r) ranks[r]->comm = comms[r];
  } else {
    comityUniqueId id;
    ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
    for (const auto& rank : ranks) rank->begin(id, nranks);
  }
  std::vector<std::thread> threads;
  threads.reserve(ranks.size() + 1);
  for (const auto& rank : ranks) threads.emplace_back([&rank] { rank->work(); });
  const uint64_t until_ns = now_ns() + below(random, 25'000'000);
  while (now_ns() < until_ns) std::this_thread::yield();
  // Who aborts, from threads of their own or from this one.
  const size_t first = below(random, ranks.size()), second = below(random, ranks.size());
  if (below(random, 2) == 0) threads.emplace_back([&ranks, second] { ranks[second]->abort(); });
  ranks[first]->abort();
  for (std::thread& thread : threads) thread.join();
  for (const auto& rank : ranks) rank->end(below(random, 2) == 0);
}

TEST(AbortStorm, LeavesNothingBehind) {
  const uint64_t rounds = given("COMITY_TEST_STORM_ROUNDS", 30);
  const uint64_t seed = given("COMITY_TEST_STORM_SEED", std::random_device{}());
  SCOPED_TRACE(fmt::format("COMITY_TEST_STORM_SEED={}", seed));
  const ScopedEnv quiet("COMITY_LOG", "error");  // warnings tell of every abort
  Random random(seed);
  // The process keeps a socket for as many sleepers as there ever were at once: more than a round has.
  for (std::deque<BerthReserve> most; most.size() < 64;) most.emplace_back(true);
  ring_bell({1, 0});               // nobody's: the process keeps one from which they are woken, too
  constexpr uint64_t kWarmUp = 8;  // arenas, threads and tables that the process keeps
  std::optional<Held> before;
  uint64_t longest_ns = 0;
  for (uint64_t round = 0; round < kWarmUp + rounds && !HasFatalFailure(); ++round) {
    if (round == kWarmUp) before = Held::now();
    const uint64_t begun_ns = now_ns();
    storm(random);
    longest_ns = std::max(longest_ns, now_ns() - begun_ns);
  }
  ASSERT_TRUE(before.has_value());
  // What was told to others leaves the process a little later. The minute of meetings that failed is waited
  // for where there were many.
  const bool patient = rounds > 100;
  const Deadline deadline = Deadline::after_ms(patient ? 130'000 : 40'000);
  Held after = Held::now();
  while (!after.is_within(*before, patient) && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    after = Held::now();
  }
  for (const auto& [when, held] : {std::pair("before", *before), std::pair("after", after)}) {
    fmt::print("{}: {} listeners, {} descriptors, {} threads, {} mappings, {} KiB\n", when, held.listeners,
               held.descriptors, held.threads, held.mappings, held.bytes >> 10);
  }
  fmt::print("{} rounds, the longest {} ms; the slowest abort or destroy {} ms\n", rounds,
             longest_ns / 1'000'000, slowest_end_ns / 1'000'000);
  EXPECT_TRUE(after.is_within(*before, patient))
      << fmt::format("before: {}\nafter: {}", fmt::join(before->what, " "), fmt::join(after.what, " "));
  // Handles are never freed: some hundred bytes each. What the rounds before the first count left to others
  // may be counted there, so the bound has a constant part.
  EXPECT_LE(after.bytes, before->bytes + (256u << 10) + rounds * (6u << 10));
}

}  // namespace
}  // namespace comity::test
