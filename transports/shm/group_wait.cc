// What a group tells of its waiting: for whom, and whether anyone gets on.
#include <algorithm>

#include "transports/shm/group.h"

namespace comity::shm {

Awaited ShmGroup::awaited() const {
  Awaited awaited;
  const auto list = [&](std::string_view what, auto waits_for) {
    awaited.what = what;
    for (uint32_t k = 0; k < core_.size(); ++k) {
      if (k != core_.me && waits_for(k)) awaited.ranks.push_back(core_.members[k].rank);
    }
  };
  const auto steps = [&](uint32_t k) {
    return core_.members[k].lines->progress.steps.load(std::memory_order_acquire);
  };
  if (stage_ == Stage::kIdle || stage_ == Stage::kDead) return awaited;
  if (stage_ == Stage::kHello) {
    list("to enter the call", [&](uint32_t k) {
      return core_.members[k].lines == nullptr ||
             core_.hello(k).sequence.load(std::memory_order_acquire) != core_.sequence;
    });
  } else if (stage_ == Stage::kRooted) {
    list(rooted_.held_back() ? "to come within 64 calls" : "to enter the call",
         [&](uint32_t k) { return rooted_.waits_for(k); });
  } else if (stage_ == Stage::kVarying) {
    list(varying_.awaits(), [&](uint32_t k) { return varying_.waits_for(k); });
  } else if (stage_ == Stage::kMapDirect || stage_ == Stage::kMapCross) {
    list("to hand over its memory", [&](uint32_t k) { return core_.members[k].peer->memory.pending(); });
  } else if (stage_ == Stage::kEager) {
    list("to do its part", [&](uint32_t k) {
      return (core_.hello(k).buffers.flags & kHelloEager) == 0 && steps(k) < core_.position(1);
    });
  } else {
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 0; k < core_.size(); ++k) {
      if (k != core_.me) least = std::min(least, steps(k));
    }
    list("to do its part", [&](uint32_t k) { return steps(k) == least; });
  }
  return awaited;
}

uint64_t ShmGroup::mark() const {
  uint64_t mark = 0;
  for (const Member& member : core_.members) {
    if (member.lines == nullptr) continue;
    mark += member.lines->hello[0].sequence.load(std::memory_order_relaxed) +
            member.lines->hello[1].sequence.load(std::memory_order_relaxed) +
            member.lines->acknowledged.done.load(std::memory_order_relaxed) +
            member.lines->progress.beats.load(std::memory_order_relaxed) +
            member.lines->progress.steps.load(std::memory_order_relaxed);
  }
  return core_.tickets == nullptr ? mark : mark + core_.tickets->finished.load(std::memory_order_relaxed);
}

}  // namespace comity::shm
