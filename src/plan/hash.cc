#include "src/plan/hash.h"

#include "src/base/hash.h"

namespace comity::plan {
namespace {

void add(Fnv& hash, const Shape& shape) {
  hash.text(shape.algorithm)
      .number(static_cast<uint64_t>(shape.collective))
      .number(shape.nranks)
      .number(shape.root)
      .number(shape.weights.size());
  for (const uint32_t weight : shape.weights) hash.number(weight);
  hash.number(shape.scratch_slots).number(shape.window).number(shape.tile_bytes);
  hash.number(static_cast<uint64_t>(shape.placement)).byte(shape.any_lengths ? 1 : 0);
}

void add(Fnv& hash, const std::vector<ChunkRun>& runs) {
  hash.number(runs.size());
  for (const ChunkRun& run : runs) {
    const auto& [space, block, first, count, partial] = run;
    hash.byte(static_cast<uint8_t>(space)).number(block).number(first).number(count).byte(partial ? 1 : 0);
  }
}

void add(Fnv& hash, const std::vector<Step>& steps) {
  hash.number(steps.size());
  for (const Step& step : steps) {
    const auto& [kind, peer, src, dst, after, last, group, order, lag, extent] =
        step;  // all there is to a step
    hash.byte(static_cast<uint8_t>(kind)).number(peer);
    add(hash, src);
    add(hash, dst);
    hash.number(after.size());
    for (const After& each : after) {
      hash.number(each.lane).number(each.step).byte(each.in_place_only ? 1 : 0);
    }
    hash.byte(last ? 1 : 0).number(group).number(order).number(lag).number(extent);
  }
}

void add(Fnv& hash, const Part& part) {
  hash.number(part.rank).number(part.lanes.size());
  for (const Lane& lane : part.lanes) add(hash, lane.steps);
  hash.number(part.groups.size());
  for (const Group& group : part.groups) {
    hash.byte(static_cast<uint8_t>(group.collective)).number(group.members.size());
    for (const uint32_t member : group.members) hash.number(member);
    hash.number(group.root).byte(group.last ? 1 : 0).byte(group.partial ? 1 : 0);
    add(hash, group.definition);
  }
}

}  // namespace

uint64_t hash_of(const Plan& plan) {
  Fnv hash;
  hash.text("whole");
  add(hash, plan.shape);
  hash.number(plan.parts.size());
  for (const Part& part : plan.parts) add(hash, part);
  return mix(hash.value());
}

uint64_t hash_of(const Shape& shape, const Origin& origin) {
  Fnv hash;
  hash.text("generated");
  add(hash, shape);
  hash.text(origin.generator).number(origin.version).number(origin.topology).number(origin.root);
  hash.number(origin.block_bytes).byte(origin.narrow ? 1 : 0).number(origin.max_lanes);
  return mix(hash.value());
}

}  // namespace comity::plan
