// Sleeping on several things at once: no wake-up is lost, whoever rings; and only who may ring does.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <future>
#include <random>
#include <thread>
#include <vector>

#include "src/base/berth.h"
#include "src/base/clock.h"
#include "tests/support/effort.h"
#include "transports/shm/doorbell.h"

namespace comity::test {
namespace {

constexpr uint64_t kLongNs = 60'000'000'000;  // a sleep that nothing ends fails the test
constexpr uint64_t kLostNs = 30'000'000'000;

UniqueFd event_fd() {
  return UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

// --- the protocol, all ways through it ---------------------------------------------------------------------

// One sleeper and one poster of memory with store buffers (x86, and what aarch64's release and acquire leave
// of its own), step by step. Each writes into its buffer, which drains at any time; a fence or an exchange
// waits for that.
struct Model {
  bool fenced;  // the poster's
  // Memory, and buffered stores (-1: none).
  int word = 0, data = 0;
  int word_buffered = -1, data_buffered = -1;
  int sleeper_at = 0, poster_at = 0;
  bool saw = false, rang = false;

  bool sleeper_over() const { return sleeper_at == 5; }
  bool poster_over() const { return poster_at == 4; }
  // The state in which nobody can do anything more, and the sleeper has not heard.
  bool lost() const { return poster_over() && data_buffered < 0 && sleeper_at == 4 && word != 0 && !rang; }

  bool step_sleeper() {
    switch (sleeper_at) {
      case 0:  // arm(): the word
        word_buffered = 1;
        break;
      case 1:  // arm(): the fence
        if (word_buffered >= 0) return false;
        break;
      case 2:  // looks once more
        saw = data != 0;
        break;
      case 3:
        sleeper_at = saw ? 5 : 4;
        return true;
      case 4:  // asleep while the word is there and nobody rang
        if (word != 0 && !rang) return false;
        break;
      default:
        return false;
    }
    ++sleeper_at;
    return true;
  }
  bool step_poster() {
    switch (poster_at) {
      case 0:
        data_buffered = 1;
        break;
      case 1:
        if (fenced && data_buffered >= 0) return false;
        break;
      case 2:  // ring(): the look
        poster_at = word != 0 ? 3 : 4;
        return true;
      case 3:  // ring(): the exchange, which is a fence too, and the wake-up
        if (data_buffered >= 0) return false;
        rang = std::exchange(word, 0) != 0;
        break;
      default:
        return false;
    }
    ++poster_at;
    return true;
  }
  bool drain_word() {
    if (word_buffered < 0) return false;
    word = std::exchange(word_buffered, -1);
    return true;
  }
  bool drain_data() {
    if (data_buffered < 0) return false;
    data = std::exchange(data_buffered, -1);
    return true;
  }
};

// Of all interleavings: in how many states a wake-up is lost, and in how many the sleeper heard.
struct Ends {
  int lost = 0, heard = 0;
};
void explore(const Model& at, Ends& ends) {
  if (at.lost()) ++ends.lost;
  if (at.sleeper_over() && at.poster_over()) ++ends.heard;
  for (bool (Model::*step)() :
       {&Model::step_sleeper, &Model::step_poster, &Model::drain_word, &Model::drain_data}) {
    Model next = at;
    if ((next.*step)()) explore(next, ends);
  }
}

TEST(WakeProtocol, LosesNothingWithThePostersFence) {
  Ends ends;
  explore(Model{.fenced = true}, ends);
  EXPECT_EQ(ends.lost, 0);
  EXPECT_GT(ends.heard, 10);
}

// Why sleeps are short where posts are not fenced.
TEST(WakeProtocol, CanLoseAWakeUpWithoutIt) {
  Ends ends;
  explore(Model{.fenced = false}, ends);
  EXPECT_GT(ends.lost, 0);
}

// --- threads -----------------------------------------------------------------------------------------------

// What one sleeper waits for: messages by doorbells, by a descriptor and by ring().
struct Seat {
  static constexpr size_t kBells = 3;
  std::array<shm::Doorbell, kBells> bells{};
  std::atomic<uint64_t> posted{0};
  std::atomic<uint64_t> taken{0};
  UniqueFd event = event_fd();
  BerthLoan berth = borrow_berth();

  bool look() {
    uint64_t count = 0;
    (void)!::read(event.get(), &count, sizeof(count));
    const uint64_t now = posted.load(std::memory_order_acquire);
    return taken.exchange(now) != now;
  }
  // False: it slept to the end.
  bool sleep_once(bool alone) {
    berth->open(alone);
    for (shm::Doorbell& bell : bells) {
      arm(bell, *berth);
      if (alone) break;
    }
    if (!alone) berth->watch(event.get(), POLLIN);
    const uint64_t begun_ns = now_ns();
    if (!look()) berth->sleep(kLongNs);
    for (shm::Doorbell& bell : bells) disarm(bell);
    berth->close();
    return now_ns() - begun_ns < kLostNs;
  }
  void post(uint32_t how) {
    posted.fetch_add(1, std::memory_order_release);
    shm::full_fence();
    if (how < kBells) return ring(bells[how]);
    const uint64_t one = 1;
    if (how == kBells) return (void)!::write(event.get(), &one, sizeof(one));
    if (how == kBells + 1) return berth->ring();
    wake_everyone();
  }
};

// The parameter: whether sleepers sleep on one word, or in ppoll on all.
class Sleepers : public testing::TestWithParam<bool> {};

TEST_P(Sleepers, HearEveryPostHoweverItComes) {
  const bool alone = GetParam();
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  constexpr size_t kSleepers = 3, kPosters = 2;
  const uint64_t posts = effort(2'000);
  std::array<Seat, kSleepers> seats;
  std::atomic<bool> lost{false};
  std::vector<std::thread> threads;
  for (Seat& seat : seats) {
    threads.emplace_back([&, alone] {
      for (uint64_t round = 0; seat.taken < posts * kPosters && !lost; ++round) {
        if (!seat.sleep_once(alone)) lost = true;
      }
    });
  }
  for (size_t poster = 0; poster < kPosters; ++poster) {
    threads.emplace_back([&, poster, alone] {
      std::mt19937_64 random(seed + poster);
      const Deadline deadline = Deadline::after_ms(120'000);
      for (uint64_t n = 0; n < posts; ++n) {
        for (Seat& seat : seats) {
          const uint64_t before = seat.posted;
          seat.post(alone ? (random() % 2 == 0 ? 0 : Seat::kBells + 1) : random() % (Seat::kBells + 3));
          // Now and then it waits, so that the sleeper sleeps.
          while (random() % 4 == 0 && seat.taken <= before && !lost && !deadline.passed())
            std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(lost) << "nothing ended a sleep";
  for (const Seat& seat : seats) EXPECT_EQ(seat.taken, posts * kPosters);
}

INSTANTIATE_TEST_SUITE_P(Berth, Sleepers, testing::Bool(),
                         [](const auto& each) { return each.param ? "OnAWord" : "OnAll"; });

TEST(Berth, HearsARingThatCameBeforeTheSleep) {
  const BerthLoan berth = borrow_berth();
  for (const bool alone : {true, false}) {
    berth->open(alone);
    std::atomic<uint32_t> word{0};
    if (alone) static_cast<void>(berth->listen(word));
    word = 1;
    berth->ring();
    const uint64_t begun_ns = now_ns();
    berth->sleep(kLongNs);
    EXPECT_LT(now_ns() - begun_ns, kLostNs);
    berth->close();
  }
}

TEST(Berth, ForgetsTheRingsOfAnEarlierSleep) {
  const BerthLoan berth = borrow_berth();
  berth->open(false);
  const UniqueFd event = event_fd();
  berth->watch(event.get(), POLLIN);
  berth->ring();
  berth->sleep(kLongNs);
  berth->close();
  berth->ring();  // nobody sleeps here
  const SleepCounts before = sleep_counts();
  berth->open(false);
  berth->sleep(1'000'000);
  berth->close();
  EXPECT_EQ(sleep_counts().timed_out, before.timed_out + 1);
}

TEST(Berth, TellsWhatWasReady) {
  const BerthLoan berth = borrow_berth();
  const UniqueFd quiet = event_fd(), ready(::eventfd(1, EFD_CLOEXEC));
  berth->open(false);
  const uint32_t first = berth->watch(quiet.get(), POLLIN);
  const uint32_t second = berth->watch(ready.get(), POLLIN);
  berth->sleep(kLongNs);
  EXPECT_EQ(berth->reported(first), 0);
  EXPECT_EQ(berth->reported(second), POLLIN);
  berth->close();
}

TEST(Berth, ReservedOnesHaveTheirSocketBeforeTheFirstSleep) {
  std::deque<BerthReserve> reserves;
  for (int i = 0; i < 8; ++i) reserves.emplace_back(i % 2 == 0);
  std::vector<BerthLoan> loans;
  for (int i = 0; i < 4; ++i) {
    loans.push_back(borrow_berth());
    EXPECT_TRUE(Berth::is_ready(loans.back().get()));
  }
}

TEST(Berth, IsNotWokenByStrangers) {
  const BerthLoan berth = borrow_berth();
  berth->open(false);
  std::atomic<uint32_t> word{0};
  Bell bell = berth->listen(word);
  ASSERT_NE(bell.name, 0u);
  bell.token ^= 1u << 20;
  EXPECT_TRUE(ring_bell(bell)) << "the sender is not told";
  const SleepCounts before = sleep_counts();
  berth->sleep(1'000'000);
  EXPECT_EQ(sleep_counts().timed_out, before.timed_out + 1);
  bell.token ^= 1u << 20;
  EXPECT_TRUE(ring_bell(bell));
  berth->sleep(kLongNs);
  EXPECT_EQ(sleep_counts().timed_out, before.timed_out + 1);
  berth->close();
}

TEST(Berth, OfAProcessThatIsGoneCannotBeRung) {
  EXPECT_FALSE(ring_bell({0x1234, 1}));
}

TEST(Berth, WhoCannotRingSaysSoAndSleepsAreShort) {
  const BerthLoan berth = borrow_berth();
  shm::Doorbell bell{};
  berth->open(false);
  arm(bell, *berth);
  bell.name = 0x1234;  // as if the system refused to send
  ring(bell);
  EXPECT_EQ(bell.unheard, 1u);
  disarm(bell);
  berth->close();
  berth->open(false);
  arm(bell, *berth);
  const uint64_t begun_ns = now_ns();
  berth->sleep(kLongNs);
  EXPECT_LT(now_ns() - begun_ns, kLostNs);
  berth->close();
}

// A child of fork() has berths of its own, and its parent's sleeper is woken as before.
TEST(Berth, AfterAForkParentAndChildSleepApart) {
  if (kInstrumented)
    GTEST_SKIP() << "needs a build without sanitizers, which do not live through fork in threads";
  Seat seat;
  EXPECT_TRUE((seat.post(0), seat.sleep_once(false)));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool right = true;
    {
      Seat own;
      std::thread poster([&] { own.post(1); });
      right = own.sleep_once(false);
      poster.join();
    }
    ::_exit(right ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  for (uint32_t how = 0; how < Seat::kBells + 3; ++how) {
    std::thread poster([&] { seat.post(how); });
    EXPECT_TRUE(seat.sleep_once(false));
    poster.join();
  }
}

}  // namespace
}  // namespace comity::test
