// All-reduce, hierarchical: reduce-scatter inside each host, all-reduce of each share across hosts,
// all-gather inside.
//
//   M hosts, the fullest of L ranks, N bytes. Steps: 2 inside, and across 2 (M - 1) by ring, log2 M by
//   recursive doubling, or 2 by two-shot, which rounds partial results once. Bytes sent by each rank:
//   inside
//   2 (n - 1) / n N on a host of n ranks, across 2 (M - 1) / M N / L by ring or two-shot. Each host's way out
//   carries 2 (M - 1) / M N, the least possible.
//
//   two hosts of two ranks, columns x y:
//     inside   0: x of 0 + 1    1: y of 0 + 1    2: x of 2 + 3    3: y of 2 + 3    group
//     across   0 <-> 2: x of all                 1 <-> 3: y of all                 ring, recursive doubling
//     inside   0 <-> 1: x y                      2 <-> 3: x y                      group
//
// Hosts may be unequal. A tile has L columns; on a host of n ranks, column c belongs to local rank floor(c n
// / L), so every rank owns a contiguous run of columns, every column has one owner per host, and those owners
// reduce it. The way across, which a host's ranks share, carries the same whatever n. A column is M chunks
// for the ring, one for recursive doubling. The three phases are lanes of their own: one tile is inside while
// another is across.
//
// A part reads the placement of all ranks once. After M. Cho, U. Finkler, D. Kung, H. Hunter, "BlueConnect:
// decomposing all-reduce for deep learning on heterogeneous network hierarchy", MLSys 2019.
#include <algorithm>

#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/doubling_steps.h"
#include "algorithms/group.h"
#include "algorithms/members.h"
#include "algorithms/ring_steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

constexpr uint32_t kScatterLane = 0, kAcrossLane = 1, kGatherLane = 2, kLanes = 3;

// Ranks of each host, ascending, and who owns which columns.
class Columns {
 public:
  explicit Columns(const topology::Topology& topology) : ranks_(topology.ngroups()) {
    for (uint32_t rank = 0; rank < topology.nranks(); ++rank)
      ranks_[topology.group_of_rank[rank]].push_back(rank);
    for (const auto& ranks : ranks_) count_ = std::max<uint32_t>(count_, static_cast<uint32_t>(ranks.size()));
  }

  uint32_t count() const { return count_; }
  uint32_t hosts() const { return static_cast<uint32_t>(ranks_.size()); }
  const std::vector<uint32_t>& ranks(uint32_t host) const { return ranks_[host]; }
  uint32_t owner(uint32_t host, uint32_t column) const {
    return ranks_[host][uint64_t{column} * ranks_[host].size() / count_];
  }
  // First column of a local rank; of ranks(host).size(), the end.
  uint32_t begin(uint32_t host, uint32_t local) const {
    const uint64_t n = ranks_[host].size();
    return static_cast<uint32_t>((uint64_t{local} * count_ + n - 1) / n);
  }

 private:
  std::vector<std::vector<uint32_t>> ranks_;
  uint32_t count_ = 1;
};

struct Phases {
  Wide inside = 0;  // reduce-scatter; the all-gather is the same less the reduction
  Wide gather = 0;
  Wide ring = 0;
  Wide two_shot = 0;
  Wide doubling = 0;
};

// Times of the phases for `length` bytes of a block.
Phases phases_of(const Figures& figures, Wide length) {
  const Wide share = length / figures.local;
  Phases phases;
  phases.gather = figures.inside.latency_ns + figures.inside_ns(length - share);
  phases.inside = phases.gather + figures.reduce_ns(length - share);
  const uint64_t hosts = figures.groups;
  const Wide chunk = share / hosts;
  phases.ring = (hosts - 1) * (2 * (figures.across.latency_ns + figures.across_ns(chunk, figures.local)) +
                               figures.reduce_ns(chunk));
  phases.two_shot = 2 * (figures.across.latency_ns + (hosts - 2) * figures.gap_ns() +
                         figures.across_ns(chunk * (hosts - 1), figures.local)) +
                    figures.reduce_ns(chunk * (hosts - 1));
  const Surplus surplus(static_cast<uint32_t>(hosts));
  const Wide exchange = figures.across.latency_ns + figures.across_ns(share, figures.local);
  phases.doubling = surplus.rounds() * (exchange + figures.reduce_ns(share));
  if (surplus.extra > 0) phases.doubling += 2 * exchange + figures.reduce_ns(share);
  return phases;
}

// The way across hosts. Where partial results are rounded it is one that rounds once, unless hosts are many.
enum class Way { kRing, kTwoShot, kDoubling };

Way way_of(const Request& request, const Figures& figures) {
  if (figures.local * figures.groups > kMaxChunks) return Way::kDoubling;
  const Phases phases = phases_of(figures, figures.bytes);
  if (!request.narrow) return phases.ring < phases.doubling ? Way::kRing : Way::kDoubling;
  const bool rounds_once = figures.groups == 2 || figures.groups > kManyMembers;
  return rounds_once && phases.doubling <= phases.two_shot ? Way::kDoubling : Way::kTwoShot;
}

Wide across_ns(Way way, const Phases& phases) {
  return way == Way::kRing ? phases.ring : way == Way::kTwoShot ? phases.two_shot : phases.doubling;
}

bool applies(const topology::Topology& topology) {
  const uint32_t hosts = topology.ngroups();
  return hosts >= 2 && topology.nranks() > hosts && topology.nranks() - hosts < kMaxChunks;
}

Shape shape(const Request& request) {
  const Figures figures(request);
  const bool doubling = way_of(request, figures) == Way::kDoubling;
  const auto chunks = static_cast<uint32_t>(figures.local * (doubling ? 1 : figures.groups));
  const auto hosts = static_cast<uint32_t>(figures.groups);
  Shape shape = make_shape("hierarchical", Collective::kAllReduce, request, chunks);
  shape.scratch_slots = doubling ? DoublingSteps::scratch_slots(hosts) : 0;
  const uint64_t footprint = doubling ? 2u + DoublingSteps::most_folds(hosts) : 2;
  set_tiles(shape, request.block_bytes, {.messages = chunks, .footprint = footprint, .window = 4});
  return shape;
}

// The all-gather of a tile comes as late as the window allows, so that the tiles between are on their way
// across hosts; of the two calls that are due then it comes first: it frees the tile that the other needs.
struct Turns {
  explicit Turns(const Shape& shape) : gather{0, shape.window - 1} {
    (shape.window == 1 ? gather : scatter).order = 1;
  }
  Steps::Turn scatter, gather;
};

// What one rank does across hosts.
class Across {
 public:
  Across(const Columns& columns, Way way, uint32_t host, Space own, std::vector<After> ready)
      : columns_(columns), way_(way), host_(host), own_(own), ready_(std::move(ready)) {
    for (uint32_t other = 0; other < columns.hosts(); ++other)
      partial_.push_back(columns.ranks(other).size() > 1);
  }

  // Reduces columns [begin, end); returns what must be complete for all of them to be. Rounds outside,
  // columns inside: a round of a column waits only for the same round of lower columns, and for earlier
  // rounds, so nothing waits in a circle.
  std::vector<After> add(Steps& steps, uint32_t begin, uint32_t end) const {
    if (way_ == Way::kRing) return add_rings(steps, begin, end);
    return way_ == Way::kTwoShot ? add_two_shots(steps, begin, end) : add_doublings(steps, begin, end);
  }

 private:
  std::vector<uint32_t> owners(uint32_t column) const {
    std::vector<uint32_t> ranks;
    for (uint32_t host = 0; host < columns_.hosts(); ++host) ranks.push_back(columns_.owner(host, column));
    return ranks;
  }

  // Each owner folds a chunk of the column at once and sends it to the others.
  std::vector<After> add_two_shots(Steps& steps, uint32_t begin, uint32_t end) const {
    const uint32_t hosts = columns_.hosts();
    std::vector<ReduceScatterSteps> scattered;
    for (uint32_t column = begin; column < end; ++column) {
      std::vector<ChunkRun> own;
      for (uint32_t host = 0; host < hosts; ++host) own.push_back({own_, 0, column * hosts + host, 1});
      scattered.push_back(add_reduce_scatter(steps, {owners(column), host_, partial_}, own,
                                             output(0, column * hosts + host_, 1), true, Folding::kAtOnce,
                                             ready_));
    }
    const uint32_t first = steps.size();
    std::vector<After> complete;
    for (uint32_t column = begin; column < end; ++column) {
      const ReduceScatterSteps& its = scattered[column - begin];
      std::vector<ChunkRun> result;
      std::vector<After> cleared;
      for (uint32_t host = 0; host < hosts; ++host) {
        result.push_back(output(0, column * hosts + host, 1));
        cleared.push_back(own_ == Space::kInput ? steps.done_in_place(its.sends[host])
                                                : steps.done(its.sends[host]));
      }
      add_all_gather(steps, {owners(column), host_, {}}, result[host_], result, {steps.done(its.reduced)},
                     cleared);
      complete.push_back(steps.done(its.reduced));
    }
    for (uint32_t step = first; step < steps.size(); ++step) complete.push_back(steps.done(step));
    return complete;
  }

  std::vector<After> add_rings(Steps& steps, uint32_t begin, uint32_t end) const {
    const uint32_t hosts = columns_.hosts();
    std::vector<RingSteps> rings;
    for (uint32_t column = begin; column < end; ++column) {
      rings.emplace_back(steps, RingSpec{.size = hosts,
                                         .position = host_,
                                         .next = columns_.owner((host_ + 1) % hosts, column),
                                         .previous = columns_.owner((host_ + hosts - 1) % hosts, column),
                                         .first_chunk = column * hosts,
                                         .stride = 1,
                                         .own = own_,
                                         .ready = ready_,
                                         .own_partial = partial_[host_],
                                         .previous_partial = partial_[(host_ + hosts - 1) % hosts]});
    }
    for (uint32_t s = 0; s + 1 < hosts; ++s) {
      for (RingSteps& ring : rings) {
        ring.scatter_send(s);
        ring.scatter_fold(s);
      }
    }
    for (uint32_t s = 0; s + 1 < hosts; ++s) {
      for (RingSteps& ring : rings) {
        ring.gather_send(s);
        ring.gather_recv(s);
      }
    }
    return completion_of(rings);
  }

  std::vector<After> add_doublings(Steps& steps, uint32_t begin, uint32_t end) const {
    std::vector<DoublingSteps> doublings;
    for (uint32_t column = begin; column < end; ++column) {
      doublings.emplace_back(steps, DoublingSpec{.members = owners(column),
                                                 .position = host_,
                                                 .first_chunk = column,
                                                 .chunk_count = 1,
                                                 .own = own_,
                                                 .ready = ready_,
                                                 .partial = partial_});
    }
    for (DoublingSteps& doubling : doublings) doubling.begin();
    for (uint32_t round = 0; round < doublings[0].rounds(); ++round) {
      for (DoublingSteps& doubling : doublings) {
        doubling.send(round);
        doubling.fold(round);
      }
    }
    for (DoublingSteps& doubling : doublings) doubling.end();
    return completion_of(doublings);
  }

  template <typename Reductions>
  static std::vector<After> completion_of(const Reductions& reductions) {
    std::vector<After> complete;
    for (const auto& reduction : reductions) {
      complete.insert(complete.end(), reduction.complete().begin(), reduction.complete().end());
    }
    return complete;
  }

  const Columns& columns_;
  Way way_;
  uint32_t host_;
  std::vector<bool> partial_;  // by host: its column is a partial result, of several ranks
  Space own_;
  std::vector<After> ready_;
};

Part part(const Request& request, const Shape& shape, uint32_t rank) {
  const Columns columns(*request.topology);
  const Way way = way_of(request, Figures(request));
  const uint32_t host = request.topology->group_of_rank[rank];
  Members members{columns.ranks(host), 0};
  members.me = static_cast<uint32_t>(std::ranges::lower_bound(members.ranks, rank) - members.ranks.begin());
  const uint32_t begin = columns.begin(host, members.me);
  const uint32_t end = columns.begin(host, members.me + 1);
  Part part = empty_part(rank, kLanes);
  Steps across(part.lanes[kAcrossLane].steps, kAcrossLane);
  if (members.size() == 1) {
    Across(columns, way, host, Space::kInput, {}).add(across, begin, end);
    return part;
  }
  const auto chunks_per_column = static_cast<uint32_t>(shape.weights.size()) / columns.count();
  GroupRuns scattered, gathered;
  for (uint32_t local = 0; local < members.size(); ++local) {
    const uint32_t first = columns.begin(host, local);
    const uint32_t count = columns.begin(host, local + 1) - first;
    scattered.src.push_back(input(0, first * chunks_per_column, count * chunks_per_column));
    gathered.dst.push_back(moved_to(Space::kOutput, 0, scattered.src.back()));
  }
  scattered.dst = gathered.src = {gathered.dst[members.me]};
  const Turns turns(shape);
  Steps scatter(part.lanes[kScatterLane].steps, kScatterLane);
  const uint32_t shared =
      add_group(part, scatter, reduce_scatter_group(members, scattered, false, folding_of(request)),
                scattered, turns.scatter, {});
  const std::vector<After> complete =
      Across(columns, way, host, Space::kOutput, {scatter.done(shared)}).add(across, begin, end);
  Steps gather(part.lanes[kGatherLane].steps, kGatherLane);
  add_group(part, gather, all_gather_group(members, gathered), gathered, turns.gather, complete);
  return part;
}

// A tile passes the three phases one after the other; tiles overlap, and the slowest phase sets their pace.
uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  const Wide tile = shape(request).tile_bytes;
  const Wide tiles = std::max<Wide>((figures.bytes + tile - 1) / tile, 1);
  const Phases phases = phases_of(figures, figures.bytes / tiles);
  const Wide across = across_ns(way_of(request, figures), phases);
  return narrow_ns(phases.inside + across + phases.gather + (tiles - 1) * std::max(across, phases.inside));
}

uint32_t roundings(const Request& request) {
  const Figures figures(request);
  const auto hosts = static_cast<uint32_t>(figures.groups);
  const Way way = way_of(request, figures);
  return 1 + (way == Way::kRing ? hosts - 1 : way == Way::kTwoShot ? 1 : DoublingSteps::most_folds(hosts));
}

}  // namespace

constinit const Algorithm kAllReduceHierarchical = {
    .name = "hierarchical",
    .collective = Collective::kAllReduce,
    .summary = "3 phases: inside, across M hosts, inside; 2 (M-1)/M N bytes leave a host",
    .applies = applies,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = roundings,
    .least_lanes = kLanes,
    .uses_groups = true,
};

}  // namespace comity::algorithms
