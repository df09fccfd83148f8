#include "src/control/parting.h"

#include <algorithm>
#include <list>
#include <memory>
#include <utility>

#include "src/base/clock.h"
#include "src/base/drain.h"
#include "src/base/log.h"
#include "src/control/control.h"

namespace comity::control {
namespace {

constexpr uint64_t kLookEveryMs = 100;      // nothing tells of an acknowledgement
constexpr uint64_t kLookEveryMsEnding = 2;  // the user waits

struct Parting {
  Drain drain;
  Patience patience;
  uint64_t watch = 0;
  uint32_t interest = 0;
  uint64_t acknowledged_ns = 0;  // 0: not yet
};

class Partings {
 public:
  void add(Loop& loop, Drain drain, const Patience& patience) {
    if (!std::exchange(told_of_end_, true)) loop.at_end([this, &loop] { on_end(loop); });
    loop.hold();
    const auto parting = partings_.insert(partings_.end(), Parting{std::move(drain), patience});
    parting->interest = static_cast<uint32_t>(parting->drain.poll_events());
    parting->watch = loop.watch(parting->drain.stream(), parting->interest,
                                [this, &loop, parting](uint32_t) { look_at(loop, parting); });
    if (timer_ == 0) look_later(loop);
    look_at(loop, parting);
  }

 private:
  using Iterator = std::list<Parting>::iterator;

  void on_end(Loop& loop) {
    ending_since_ns_ = loop.now_ns();
    loop.cancel(timer_);
    look(loop);
  }

  void look_later(Loop& loop) {
    timer_ = loop.after_ms(loop.ending() ? kLookEveryMsEnding : kLookEveryMs, [this, &loop] { look(loop); });
  }

  void look(Loop& loop) {
    timer_ = 0;
    for (auto parting = partings_.begin(); parting != partings_.end();) look_at(loop, parting++);
    if (!partings_.empty()) look_later(loop);
  }

  void look_at(Loop& loop, Iterator parting) {
    const uint64_t now = loop.now_ns();
    if (is_over(loop, *parting, now)) {
      loop.unwatch(parting->watch);
      partings_.erase(parting);
      loop.release();
      return;
    }
    const auto wanted = static_cast<uint32_t>(parting->drain.poll_events());
    if (wanted != parting->interest) loop.change(parting->watch, wanted);
    parting->interest = wanted;
  }

  bool is_over(Loop& loop, Parting& parting, uint64_t now) const {
    switch (parting.drain.step(now)) {
      case Drain::State::kOver:
        return true;
      case Drain::State::kAcknowledged:
        if (parting.acknowledged_ns == 0) parting.acknowledged_ns = now;
        return loop.ending() || now - parting.acknowledged_ns > kAfterAcknowledgedMs * 1'000'000u;
      case Drain::State::kSending:
        break;
    }
    // The end of the process gives a peer that was late already its full time once more.
    const uint64_t still_ns = std::min(parting.drain.still_ns(), now - ending_since_ns_);
    const uint64_t limit_ms = loop.ending() ? parting.patience.ending_ms : parting.patience.alive_ms;
    if (still_ns / 1'000'000u < limit_ms) return false;
    COMITY_LOG_WARN("gave up a connection whose peer has taken nothing for {} ms: it may miss data",
                    limit_ms);
    return true;
  }

  std::list<Parting> partings_;
  uint64_t timer_ = 0;
  uint64_t ending_since_ns_ = 0;
  bool told_of_end_ = false;
};

}  // namespace

void part_with(Loop& loop, StreamPtr stream, std::vector<std::byte> unsent, const Patience& patience) {
  loop.part<Partings>().add(loop, Drain(std::move(stream), std::move(unsent)), patience);
}

void finish_connection(UniqueFd socket, Bytes unsent) {
  struct Carried {
    UniqueFd socket;
    Bytes unsent;
  };
  const auto carried = std::make_shared<Carried>(Carried{std::move(socket), std::move(unsent)});
  Loop& loop = Loop::instance();
  const bool posted = loop.post([&loop, carried] {
    part_with(loop, std::make_unique<KernelStream>(std::move(carried->socket)), std::move(carried->unsent),
              kDataPatience);
  });
  if (posted) return;
  drain_and_close(Drain(std::move(carried->socket), std::move(carried->unsent)), kDataPatience.ending_ms);
}

}  // namespace comity::control
