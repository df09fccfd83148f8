// When nothing comes of a peer's over UCX, although it sends: UCX leaves that to networks, and TCP takes a
// quarter of an hour to notice that packets are dropped without a word.
//
// A peer that computes is silent, too. So who waits in a call tells the peer over the control plane how much
// it has sent, and how much came, and the peer answers if it waits itself. Who is told of more than came,
// again and again while it waits, gives up.
//
//   rank 0  waits, sent 3 segments ... 5 s: "sent 3" ... 10 s: "sent 3" ... 15 s ... 20 s: "sent 3"
//   rank 1  waits, 2 came                   one strike        two           three    the fourth: it gives up
//
// A pure state machine: no clock, no UCX.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace comity::ucx {

// What a rank tells a peer.
struct Account {
  uint64_t sent = 0;  // segments, to the peer
  uint64_t came = 0;  // of its
};

class Silence {
 public:
  static constexpr uint64_t kTellEveryNs = 5'000'000'000;
  static constexpr uint64_t kTellRarelyNs = 60'000'000'000;  // a peer that does not answer: it is in no call
  static constexpr uint64_t kAbsentNs = 2'000'000'000;       // between two looks: this rank was in no call
  static constexpr uint32_t kStrikes = 4;
  // Of what came in part, a fetch that is under way: it may merely be slow.
  static constexpr uint32_t kSlowStrikes = 48;

  enum class Missing : uint8_t { kNothing, kPart, kWhole };

  enum class Next : uint8_t { kNothing, kTell, kGiveUp };
  // Now and then while a call waits, at least once in kAbsentNs. `heard`: a number that changes with all that
  // comes; `missing(n)`: what is still to come if the peer has sent n segments; `may_tell`: it can be told
  // now, else it is at the next look.
  template <typename Misses>
  Next look(uint64_t now_ns, const Account& own, uint64_t heard, Misses missing, bool may_tell = true) {
    const bool anew = heard != heard_ || now_ns - looked_ns_ > kAbsentNs;
    looked_ns_ = now_ns;
    heard_ = heard;
    if (anew) {
      strikes_ = tells_ = 0;
      told_.reset();
      tell_at_ns_ = strike_at_ns_ = now_ns + kTellEveryNs;
      return Next::kNothing;
    }
    if (told_) {
      const Account peer = *told_;
      told_.reset();
      if (tells_ > kStrikes) tell_at_ns_ = std::min(tell_at_ns_, now_ns + kTellEveryNs);
      tells_ = std::min(tells_, 1u);  // it waits, too
      confirmed_ = std::max(confirmed_, peer.came);
      const Missing what = missing(peer.sent);
      if (what != Missing::kNothing && now_ns >= strike_at_ns_) {
        strikes_ += what == Missing::kWhole ? kSlowStrikes / kStrikes : 1;
        strike_at_ns_ = now_ns + kTellEveryNs * 9 / 10;
      }
      if (strikes_ >= kSlowStrikes) return Next::kGiveUp;
    }
    if (!may_tell || now_ns < tell_at_ns_ || (tells_ > 0 && own.sent <= confirmed_)) return Next::kNothing;
    tell_at_ns_ = now_ns + (++tells_ > kStrikes ? kTellRarelyNs : kTellEveryNs);
    return Next::kTell;
  }
  // The peer's account came.
  void told(const Account& peer) { told_ = peer; }

 private:
  uint64_t heard_ = 0, confirmed_ = 0;
  uint64_t looked_ns_ = 0, tell_at_ns_ = 0, strike_at_ns_ = 0;
  uint32_t strikes_ = 0, tells_ = 0;
  std::optional<Account> told_;
};

}  // namespace comity::ucx
