// When a peer's silence over UCX is a fault: as a pure state machine.
#include <gtest/gtest.h>

#include <functional>

#include "transports/ucx/silence.h"

namespace comity::ucx {
namespace {

constexpr uint64_t kStepNs = 500'000'000;  // between looks

struct Rank {
  Silence silence;
  uint64_t sent = 0, came = 0;
  bool fetches = false;
  Silence::Next look(uint64_t now_ns) {
    return silence.look(now_ns, {sent, came}, came, [this](uint64_t peer_sent) {
      return came < peer_sent ? Silence::Missing::kWhole
             : fetches        ? Silence::Missing::kPart
                              : Silence::Missing::kNothing;
    });
  }
};

struct Outcome {
  uint64_t gave_up_after_s = 0;  // `other`; 0: it did not
  uint32_t letters = 0;
};
// Both wait for `for_s` seconds, and hear what the other tells; `at` is called before each look.
Outcome wait(Rank& one, Rank& other, uint64_t for_s, const std::function<void(uint64_t second)>& at = {}) {
  constexpr uint64_t kBeginNs = 1'000'000'000'000;
  Outcome outcome;
  const auto look = [&](Rank& rank, Rank& peer, uint64_t now) {
    const Silence::Next next = rank.look(now);
    if (next == Silence::Next::kTell) {
      peer.silence.told({rank.sent, rank.came});
      ++outcome.letters;
    }
    return next == Silence::Next::kGiveUp;
  };
  for (uint64_t now = kBeginNs; now <= kBeginNs + for_s * 1'000'000'000; now += kStepNs) {
    if (at) at((now - kBeginNs) / 1'000'000'000);
    EXPECT_FALSE(look(one, other, now)) << "to it everything came";
    if (look(other, one, now)) {
      outcome.gave_up_after_s = (now - kBeginNs) / 1'000'000'000;
      break;
    }
  }
  return outcome;
}

TEST(UcxSilence, WhoMissesWhatWasSentGivesUpWhileBothWait) {
  Rank one, other;
  one.sent = 3;
  other.came = 2;
  const uint64_t after_s = wait(one, other, 60).gave_up_after_s;
  EXPECT_GE(after_s, 20u);
  EXPECT_LE(after_s, 25u);
}

// What it sent last crossed what came last: that something came says nothing of it.
TEST(UcxSilence, WhatCrossedSomethingIsMissedToo) {
  Rank one, other;
  one.sent = other.sent = one.came = 1;
  EXPECT_NE(wait(one, other, 60).gave_up_after_s, 0u);
}

TEST(UcxSilence, WhoHasAllThatWasSentWaitsOnAndFewLettersGo) {
  Rank one, other;
  one.sent = other.came = 3;
  other.sent = one.came = 5;
  const Outcome outcome = wait(one, other, 3600);
  EXPECT_EQ(outcome.gave_up_after_s, 0u);
  EXPECT_LE(outcome.letters, 4u);
}

TEST(UcxSilence, APeerThatComputesIsToldRarely) {
  Rank one;
  one.sent = 3;
  uint32_t letters = 0;
  for (uint64_t now = 1'000'000'000'000; now < 1'600'000'000'000; now += kStepNs)
    letters += one.look(now) == Silence::Next::kTell ? 1 : 0;
  EXPECT_GE(letters, 8u);
  EXPECT_LE(letters, 16u) << "in ten minutes";
}

TEST(UcxSilence, WhateverComesBeginsItAnew) {
  Rank one, other;
  one.sent = 1000;
  const auto slowly = [&](uint64_t second) { other.came = 1 + second / 15; };
  EXPECT_EQ(wait(one, other, 300, slowly).gave_up_after_s, 0u) << "a slow wire is no dead one";
}

TEST(UcxSilence, AFetchThatIsUnderWayIsGivenMinutes) {
  Rank one, other;
  one.sent = other.came = 1;
  other.fetches = true;
  one.came = 0;
  other.sent = 0;
  Rank never = other;
  EXPECT_EQ(wait(one, never, 120).gave_up_after_s, 0u);
}

// A peer that comes late to the call is as alone as one that was there from the start.
TEST(UcxSilence, WhoJoinsLateIsToldSoon) {
  Rank one, other;
  one.sent = 1;
  uint64_t now = 1'000'000'000'000;
  for (const uint64_t late = now + 40'000'000'000; now < late; now += kStepNs) one.look(now);
  uint64_t gave_up_after_s = 0;
  for (const uint64_t begin = now; gave_up_after_s == 0 && now < begin + 120'000'000'000; now += kStepNs) {
    if (one.look(now) == Silence::Next::kTell) other.silence.told({one.sent, one.came});
    const Silence::Next next = other.look(now);
    if (next == Silence::Next::kTell) one.silence.told({other.sent, other.came});
    if (next == Silence::Next::kGiveUp) gave_up_after_s = (now - begin) / 1'000'000'000;
  }
  EXPECT_GE(gave_up_after_s, 20u);
  EXPECT_LE(gave_up_after_s, 35u);
}

// It comes back from its computation to letters of a minute, and to what UCX has kept for it.
TEST(UcxSilence, WhoComesLateLooksBeforeItBelieves) {
  Rank other;
  uint64_t now = 1'000'000'000'000;
  EXPECT_EQ(other.look(now), Silence::Next::kNothing);
  for (int letter = 0; letter < 12; ++letter) other.silence.told({7, 0});
  now += 60'000'000'000;
  EXPECT_EQ(other.look(now), Silence::Next::kNothing);
  other.came = 7;
  for (int look = 0; look < 8; ++look) EXPECT_EQ(other.look(now += kStepNs), Silence::Next::kNothing);
}

}  // namespace
}  // namespace comity::ucx
