#include "src/plan/wiring.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "src/plan/extents.h"
#include "src/plan/print.h"

namespace comity::plan {
namespace {

struct StepPlace {
  uint32_t rank = 0, lane = 0, step = 0;
};

Violation mismatch(const StepPlace& at, std::string why) {
  return {"match", at.rank, at.lane, at.step,
          fmt::format("rank {}, lane {}, step {}: {}", at.rank, at.lane, at.step, why)};
}

RankWiring number_steps(const Part& part) {
  RankWiring wiring;
  wiring.lane_begin.push_back(0);
  for (const Lane& lane : part.lanes) {
    wiring.lane_begin.push_back(wiring.lane_begin.back() + static_cast<uint32_t>(lane.steps.size()));
  }
  wiring.channel.assign(wiring.steps(), kNone);
  wiring.waiters.assign(wiring.steps(), 0);
  return wiring;
}

struct Waiting {
  uint32_t on = 0;  // flat
  Dependent by;
};

void wire_dependents(const Part& part, bool in_place, RankWiring& wiring) {
  std::vector<Waiting> all;
  for (uint32_t lane = 0; lane < part.lanes.size(); ++lane) {
    for (uint32_t index = 0; index < part.lanes[lane].steps.size(); ++index) {
      for (const After& after : part.lanes[lane].steps[index].after) {
        if (after.in_place_only && !in_place) continue;
        const uint32_t on = wiring.lane_begin[after.lane] + after.step;
        ++wiring.waiters[on];
        all.push_back({on, {lane, index}});
      }
    }
  }
  std::sort(all.begin(), all.end(), [](const Waiting& a, const Waiting& b) {
    return std::tie(a.on, a.by.lane, a.by.step) < std::tie(b.on, b.by.lane, b.by.step);
  });
  wiring.dependent_begin.assign(wiring.steps() + 1, 0);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i > 0 && all[i - 1].on == all[i].on && all[i - 1].by.lane == all[i].by.lane) continue;
    wiring.dependents.push_back(all[i].by);
    ++wiring.dependent_begin[all[i].on + 1];
  }
  for (uint32_t step = 0; step < wiring.steps(); ++step) {
    wiring.dependent_begin[step + 1] += wiring.dependent_begin[step];
  }
}

class ChannelBuilder {
 public:
  ChannelBuilder(const Shape& shape, std::span<const Part> parts, Wiring& wiring)
      : shape_(shape), parts_(parts), wiring_(wiring) {}

  void run() {
    for (uint32_t rank = 0; rank < parts_.size(); ++rank) {
      for (uint32_t lane = 0; lane < parts_[rank].lanes.size(); ++lane) {
        for (uint32_t step = 0; step < parts_[rank].lanes[lane].steps.size(); ++step) add({rank, lane, step});
      }
    }
    for (size_t channel = 0; channel < ends_.size() && !wiring_.violation; ++channel) match(ends_[channel]);
  }

 private:
  struct Ends {
    std::vector<StepPlace> sends, recvs;
  };

  const Step& step(const StepPlace& at) const { return parts_[at.rank].lanes[at.lane].steps[at.step]; }

  void add(const StepPlace& at) {
    const Step& here = step(at);
    if (here.kind != StepKind::kSend && here.kind != StepKind::kRecv) return;
    const bool send = here.kind == StepKind::kSend;
    const Channel channel{send ? at.rank : here.peer, send ? here.peer : at.rank, at.lane};
    const uint64_t key = uint64_t{channel.source} << 40 | uint64_t{channel.destination} << 20 | channel.lane;
    const auto [found, fresh] = index_.try_emplace(key, static_cast<uint32_t>(ends_.size()));
    if (fresh) {
      ends_.emplace_back();
      wiring_.channels.push_back(channel);
    }
    (send ? ends_[found->second].sends : ends_[found->second].recvs).push_back(at);
    RankWiring& rank = wiring_.ranks[at.rank];
    rank.channel[rank.lane_begin[at.lane] + at.step] = found->second;
  }

  void match(const Ends& ends) {
    const size_t pairs = std::min(ends.sends.size(), ends.recvs.size());
    for (size_t i = 0; i < pairs; ++i) {
      const ChunkRun& sent = step(ends.sends[i]).src[0];
      const ChunkRun& received = step(ends.recvs[i]).dst[0];
      if (sent.first == received.first && sent.count == received.count &&
          (!shape_.any_lengths || block_at(ends.sends[i]) == block_at(ends.recvs[i])))
        continue;
      wiring_.violation = mismatch(
          ends.recvs[i], fmt::format("{} differs in length from what it matches, {} of rank {}, step {}",
                                     describe(step(ends.recvs[i])), describe(step(ends.sends[i])),
                                     ends.sends[i].rank, ends.sends[i].step));
      return;
    }
    if (ends.sends.size() > pairs) {
      wiring_.violation = mismatch(ends.sends[pairs], fmt::format("{} has no receive that it matches",
                                                                  describe(step(ends.sends[pairs]))));
    } else if (ends.recvs.size() > pairs) {
      wiring_.violation = mismatch(ends.recvs[pairs], fmt::format("{} has no send that it matches",
                                                                  describe(step(ends.recvs[pairs]))));
    }
  }

  // Whose length the step has.
  std::optional<uint64_t> block_at(const StepPlace& at) const {
    const uint32_t rank = parts_[at.rank].rank;
    const std::optional<uint32_t> extent = extent_of(shape_, rank, step(at));
    return extent ? std::optional(block_of_extent(shape_, rank, *extent)) : std::nullopt;
  }

  const Shape& shape_;
  std::span<const Part> parts_;
  Wiring& wiring_;
  std::unordered_map<uint64_t, uint32_t> index_;
  std::vector<Ends> ends_;
};

class MeetingBuilder {
 public:
  MeetingBuilder(std::span<const Part> parts, Wiring& wiring) : parts_(parts), wiring_(wiring) {}

  void run() {
    for (uint32_t rank = 0; rank < parts_.size(); ++rank) {
      for (uint32_t lane = 0; lane < parts_[rank].lanes.size(); ++lane) {
        for (uint32_t step = 0; step < parts_[rank].lanes[lane].steps.size(); ++step) add({rank, lane, step});
      }
    }
    for (size_t meeting = 0; meeting < calls_.size() && !wiring_.violation; ++meeting) match(meeting);
  }

 private:
  using Key = std::tuple<uint32_t, Collective, uint32_t, std::vector<uint32_t>>;

  const Step& step(const StepPlace& at) const { return parts_[at.rank].lanes[at.lane].steps[at.step]; }
  const Group& group(const StepPlace& at) const { return parts_[at.rank].groups[step(at).group]; }

  void add(const StepPlace& at) {
    if (step(at).kind != StepKind::kGroup) return;
    const Group& here = group(at);
    const auto [found, fresh] = index_.try_emplace(Key{at.lane, here.collective, here.root, here.members},
                                                   static_cast<uint32_t>(calls_.size()));
    if (fresh) {
      calls_.emplace_back(here.members.size());
      wiring_.meetings.push_back({&here, at.lane});
    }
    const auto member = std::find(here.members.begin(), here.members.end(), at.rank) - here.members.begin();
    calls_[found->second][static_cast<size_t>(member)].push_back(at);
    RankWiring& rank = wiring_.ranks[at.rank];
    rank.channel[rank.lane_begin[at.lane] + at.step] = found->second;
  }

  void match(size_t meeting) {
    const auto& calls = calls_[meeting];
    const Group& first = *wiring_.meetings[meeting].group;
    size_t most = 0;
    for (const auto& member : calls) most = std::max(most, member.size());
    for (size_t call = 0; call < most && !wiring_.violation; ++call) {
      for (size_t member = 0; member < calls.size(); ++member) {
        if (calls[member].size() > call) continue;
        const auto present =
            std::find_if(calls.begin(), calls.end(), [&](const auto& list) { return list.size() > call; });
        wiring_.violation =
            mismatch((*present)[call],
                     fmt::format("member rank {} has no group that it meets", first.members[member]));
        return;
      }
      match_call(calls, call);
    }
  }

  // Pieces that meet have equal length.
  void match_call(const std::vector<std::vector<StepPlace>>& calls, size_t call) {
    const StepPlace& base = calls[0][call];
    for (const auto& member : calls) {
      const StepPlace& at = member[call];
      const bool pieces = pieces_meet(calls, call, at);
      if (step(at).order != step(base).order || step(at).lag != step(base).lag) {
        wiring_.violation =
            mismatch(at, fmt::format("{} starts in another order than its like on rank {}, step {}: {}",
                                     describe(step(at)), base.rank, base.step, describe(step(base))));
        return;
      }
      if (pieces && group(at).last == group(base).last) continue;
      wiring_.violation =
          mismatch(at, fmt::format("{} differs in length or form from its like on rank {}, step {}",
                                   describe(step(at)), base.rank, base.step));
      return;
    }
  }

  // Those of `at` and of all members, or of the root where each has to do with it alone.
  bool pieces_meet(const std::vector<std::vector<StepPlace>>& calls, size_t call, const StepPlace& at) const {
    const Group& its = group(at);
    const Step& here = step(at);
    const Step& base = step(calls[0][call]);
    const Step& root = step(calls[its.root][call]);
    const auto member =
        static_cast<size_t>(std::find(its.members.begin(), its.members.end(), at.rank) - its.members.begin());
    switch (its.collective) {
      case Collective::kGather:
        return same(here.src[0], root.dst[member]);
      case Collective::kScatter:
        return same(root.src[member], here.dst[0]);
      case Collective::kAllToAll:
        for (size_t other = 0; other < calls.size(); ++other) {
          if (!same(here.src[other], step(calls[other][call]).dst[member])) return false;
        }
        return true;
      default:
        return is_reduction(its.collective) ? same(base.src, here.src) : same(base.dst, here.dst);
    }
  }

  static bool same(const ChunkRun& a, const ChunkRun& b) { return a.first == b.first && a.count == b.count; }
  static bool same(const std::vector<ChunkRun>& a, const std::vector<ChunkRun>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const ChunkRun& x, const ChunkRun& y) { return same(x, y); });
  }

  std::span<const Part> parts_;
  Wiring& wiring_;
  std::map<Key, uint32_t> index_;
  std::vector<std::vector<std::vector<StepPlace>>> calls_;  // by meeting, member, call
};

}  // namespace

Wiring wire(const Shape& shape, std::span<const Part> parts, bool in_place) {
  Wiring wiring;
  wiring.ranks.reserve(parts.size());
  for (const Part& part : parts) {
    wiring.ranks.push_back(number_steps(part));
    wire_dependents(part, in_place, wiring.ranks.back());
  }
  ChannelBuilder(shape, parts, wiring).run();
  if (!wiring.violation) MeetingBuilder(parts, wiring).run();
  return wiring;
}

}  // namespace comity::plan
