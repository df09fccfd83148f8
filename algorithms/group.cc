#include "algorithms/group.h"

#include <utility>

#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

plan::Group make_group(Collective collective, const Members& members, uint32_t root, bool last) {
  plan::Group group;
  group.collective = collective;
  group.members = members.ranks;
  group.root = root;
  group.last = last;
  return group;
}

// The i-th of `run`'s chunks.
std::vector<ChunkRun> single_chunks(const ChunkRun& run) {
  std::vector<ChunkRun> chunks(run.count, run);
  for (uint32_t i = 0; i < run.count; ++i) {
    chunks[i].first = run.first + i;
    chunks[i].count = 1;
  }
  return chunks;
}

}  // namespace

plan::Group all_reduce_group(const Members& members, const GroupRuns& runs, bool last, Folding folding) {
  plan::Group group = make_group(Collective::kAllReduce, members, 0, last);
  Steps steps(group.definition);
  const ChunkRun& x = runs.src[0];
  const ChunkRun& y = runs.dst[0];
  if (members.size() == 1) {
    steps.copy(x, y);
  } else if (x.count == members.size()) {
    add_two_shot(steps, members, single_chunks(x), single_chunks(y), last, folding);
  } else {
    add_exchange_all(steps, members, x, y, last);
  }
  return group;
}

plan::Group reduce_group(const Members& members, uint32_t root, const GroupRuns& runs, bool last,
                         Folding folding) {
  plan::Group group = make_group(Collective::kReduce, members, root, last);
  Steps steps(group.definition);
  if (members.me != root) {
    steps.send(members.ranks[root], runs.src[0]);
  } else if (members.size() == 1) {
    steps.copy(runs.src[0], runs.dst[0]);
  } else if (folding == Folding::kAtOnce) {
    add_fold_at_once(steps, members, runs.src[0], runs.dst[0], last, {});
  } else {
    add_fold_on_arrival(steps, members, runs.src[0], runs.dst[0], last);
  }
  return group;
}

plan::Group broadcast_group(const Members& members, uint32_t root, const GroupRuns& runs) {
  plan::Group group = make_group(Collective::kBroadcast, members, root, false);
  Steps steps(group.definition);
  if (members.me != root) {
    steps.recv(members.ranks[root], runs.dst[0]);
    return group;
  }
  std::vector<uint32_t> sends;
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    sends.push_back(steps.send(members.ranks[members.after(distance)], runs.src[0]));
  }
  if (runs.src[0] != runs.dst[0]) steps.copy_own(runs.src[0], runs.dst[0], sends);
  return group;
}

plan::Group all_gather_group(const Members& members, const GroupRuns& runs) {
  plan::Group group = make_group(Collective::kAllGather, members, 0, false);
  Steps steps(group.definition);
  const ChunkRun& own = runs.src[0];
  const std::vector<uint32_t> sends = add_all_gather(steps, members, own, runs.dst, {}, {});
  if (own != runs.dst[members.me]) steps.copy_own(own, runs.dst[members.me], sends);
  return group;
}

plan::Group reduce_scatter_group(const Members& members, const GroupRuns& runs, bool last, Folding folding,
                                 uint32_t extent) {
  plan::Group group = make_group(Collective::kReduceScatter, members, 0, last);
  Steps steps(group.definition);
  steps.set_extent(extent);
  if (members.size() == 1) {
    if (runs.src[0] != runs.dst[0]) steps.copy(runs.src[0], runs.dst[0]);
  } else {
    add_reduce_scatter(steps, members, runs.src, runs.dst[0], last, folding);
  }
  return group;
}

plan::Group all_to_all_group(const Members& members, const GroupRuns& runs) {
  plan::Group group = make_group(Collective::kAllToAll, members, 0, false);
  Steps steps(group.definition);
  add_all_to_all(steps, members, runs.src, runs.dst);
  return group;
}

plan::Group gather_group(const Members& members, uint32_t root, const GroupRuns& runs) {
  plan::Group group = make_group(Collective::kGather, members, root, false);
  Steps steps(group.definition);
  if (members.me == root) {
    add_gather_at_root(steps, members, runs.src[0], runs.dst);
  } else {
    steps.send(members.ranks[root], runs.src[0]);
  }
  return group;
}

plan::Group scatter_group(const Members& members, uint32_t root, const GroupRuns& runs) {
  plan::Group group = make_group(Collective::kScatter, members, root, false);
  Steps steps(group.definition);
  if (members.me == root) {
    add_scatter_at_root(steps, members, runs.src, runs.dst[0]);
  } else {
    steps.recv(members.ranks[root], runs.dst[0]);
  }
  return group;
}

plan::Group barrier_group(const Members& members) {
  plan::Group group = make_group(Collective::kBarrier, members, 0, false);
  Steps steps(group.definition);
  add_dissemination(steps, members, scratch(0, 0, 1));
  return group;
}

uint32_t add_group(Part& part, Steps& steps, plan::Group group, GroupRuns runs, Steps::Turn turn,
                   std::vector<After> after) {
  part.groups.push_back(std::move(group));
  return steps.group(static_cast<uint32_t>(part.groups.size() - 1), std::move(runs.src), std::move(runs.dst),
                     turn, std::move(after));
}

Part part_of_group(uint32_t rank, plan::Group group, GroupRuns runs) {
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  add_group(part, steps, std::move(group), std::move(runs), {}, {});
  return part;
}

bool reaches_all_memory(const topology::Topology& topology) {
  return topology.ngroups() == 1 && topology.inside.direct;
}

Shape group_shape(Collective collective, const Request& request, uint32_t chunks) {
  Shape shape = make_shape("group", collective, request, chunks);
  shape.tile_bytes = plan::kWholeBlock;
  if (collective == Collective::kBarrier) shape.scratch_slots = 1;
  return shape;
}

}  // namespace comity::algorithms
