#include "src/engine/binding.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "src/base/arithmetic.h"
#include "src/base/hash.h"
#include "src/plan/extents.h"
#include "src/plan/verify.h"

namespace comity::engine {
namespace {

// Null too where the members are not ascending, which is all that providers know, and where it would have to
// compare lengths among more members than it can.
GroupProvider* provider_for(const PlannedPart& planned, const plan::Group& group, BindingContext& context) {
  const bool ascending = std::is_sorted(group.members.begin(), group.members.end());
  GroupProvider* provider = ascending ? context.provider_of(group.members) : nullptr;
  if (provider == nullptr || !planned.compares_lengths) return provider;
  return group.members.size() <= provider->most_varying() ? provider : nullptr;
}

Collective varied(Collective collective) {
  switch (collective) {
    case Collective::kAllToAll:
      return Collective::kAllToAllV;
    case Collective::kGather:
      return Collective::kGatherV;
    case Collective::kScatter:
      return Collective::kScatterV;
    default:
      return collective;
  }
}

class Binder {
 public:
  Binder(const PlannedPart& planned, const plan::Shape& shape, const plan::Part& part, bool in_place,
         bool on_device, BindingContext& context)
      : planned_(planned),
        part_(part),
        divides_first_(planned.divides_first),
        scaled_(planned.scaled),
        context_(context),
        bound_(std::make_unique<Binding>()) {
    bound_->shape = shape;
    bound_->in_fp32 = planned.in_fp32;
    bound_->in_place = in_place && !planned.in_fp32;
    bound_->on_device = on_device && !planned.in_fp32;
    caller_on_device_ = on_device;
    chunk_begins(shape, shape.tile_bytes, begins_);
  }

  Result<std::unique_ptr<Binding>> run() {
    number_steps();
    for (uint32_t lane = 0; lane < part_.lanes.size(); ++lane) {
      bound_->lanes.emplace_back();
      for (uint32_t step = 0; step < part_.lanes[lane].steps.size(); ++step) {
        COMITY_RETURN_IF_ERROR(add(lane, step));
      }
    }
    sort_groups();
    lay_out_memory();
    bound_->group_alone = is_group_alone();
    return std::move(bound_);
  }

 private:
  // Gives every step an id; a reduce that is fused shares its recv's.
  void number_steps() {
    ids_.resize(part_.lanes.size());
    fused_.resize(part_.lanes.size());
    uint32_t next = 0;
    for (uint32_t lane = 0; lane < part_.lanes.size(); ++lane) {
      const auto& steps = part_.lanes[lane].steps;
      ids_[lane].resize(steps.size());
      fused_[lane].assign(steps.size(), false);
      for (uint32_t i = 0; i < steps.size(); ++i) {
        if (i > 0 && fuses(lane, i)) {
          fused_[lane][i] = true;
          ids_[lane][i] = ids_[lane][i - 1];
        } else {
          ids_[lane][i] = next++;
        }
      }
    }
    bound_->steps.resize(next);
  }

  bool needed(const plan::After& after) const { return bound_->in_place || !after.in_place_only; }

  // Whether step i, a reduce, can be done on arrival of the recv before it: two operands, the recv's only
  // use, and nothing to wait for that the recv does not wait for anyway (else the receive would be posted
  // late and the peer might stall).
  bool fuses(uint32_t lane, uint32_t i) const {
    const auto& steps = part_.lanes[lane].steps;
    const plan::Step& recv = steps[i - 1];
    const plan::Step& reduce = steps[i];
    if (bound_->on_device || recv.kind != plan::StepKind::kRecv || reduce.kind != plan::StepKind::kReduce)
      return false;
    if (recv.dst[0].space != plan::Space::kReceived || reduce.src.size() != 2 || fused_[lane][i - 1])
      return false;
    const bool first = reduce.src[0].space == plan::Space::kReceived;
    const plan::ChunkRun& received = reduce.src[first ? 0 : 1];
    const plan::ChunkRun& operand = reduce.src[first ? 1 : 0];
    if (received.space != plan::Space::kReceived || received.block != i - 1) return false;
    if (operand.space == plan::Space::kReceived) return false;
    for (uint32_t later = i + 1; later < steps.size(); ++later) {
      for (const plan::ChunkRun& src : steps[later].src) {
        if (src.space == plan::Space::kReceived && src.block == i - 1) return false;
      }
    }
    return std::all_of(reduce.after.begin(), reduce.after.end(), [&](const plan::After& after) {
      if (!needed(after) || (after.lane == lane && after.step == i - 1)) return true;
      return std::find(recv.after.begin(), recv.after.end(), after) != recv.after.end();
    });
  }

  Status add(uint32_t lane, uint32_t i) {
    const plan::Step& step = part_.lanes[lane].steps[i];
    const uint32_t id = ids_[lane][i];
    BoundStep& bound = bound_->steps[id];
    if (fused_[lane][i]) {
      fuse_into(bound, step);
      return {};
    }
    bound_->lanes[lane].push_back(id);
    add_after(bound, lane, step);
    bound.last = step.last;
    bound.extent = plan::extent_of(bound_->shape, context_.rank(), step).value_or(plan::kImplied);
    switch (step.kind) {
      case plan::StepKind::kSend:
        bound.kind = BoundKind::kSend;
        COMITY_RETURN_IF_ERROR(add_link(bound, step.peer));
        break;
      case plan::StepKind::kRecv:
        bound.kind = BoundKind::kRecv;
        bound.lands = step.dst[0].space == plan::Space::kReceived;
        COMITY_RETURN_IF_ERROR(add_link(bound, step.peer));
        break;
      case plan::StepKind::kCopy:
        bound.kind = BoundKind::kCopy;
        break;
      case plan::StepKind::kReduce:
        bound.kind = BoundKind::kReduce;
        break;
      case plan::StepKind::kGroup:
        return add_group(bound, step);
    }
    if (!step.dst.empty()) bound.dst = step.dst[0];
    add_sources(bound, lane, step);
    if (step.kind == plan::StepKind::kReduce) divide_sources(bound, step);
    return {};
  }

  // Where partial results are rounded, avg divides what enters its first.
  void divide_sources(BoundStep& bound, const plan::Step& reduce) {
    if (!divides_first_) return;
    const auto partial = std::count_if(reduce.src.begin(), reduce.src.end(),
                                       [](const plan::ChunkRun& run) { return run.partial; });
    bound.last = static_cast<size_t>(partial) < reduce.src.size();
    bound.mixed = bound.last && partial > 0;
  }

  void fuse_into(BoundStep& bound, const plan::Step& reduce) {
    bound.kind = BoundKind::kRecvReduce;
    bound.lands = false;
    bound.last = reduce.last;
    bound.received_first = reduce.src[0].space == plan::Space::kReceived;
    bound.dst = reduce.dst[0];
    bound.src = static_cast<uint32_t>(bound_->runs.size());
    bound.src_count = 1;
    divide_sources(bound, reduce);
    // The operand, then what is received: the engine reads the runs of one, and the marks of both.
    bound_->runs.push_back(reduce.src[bound.received_first ? 1 : 0]);
    bound_->runs.push_back(reduce.src[bound.received_first ? 0 : 1]);
  }

  void add_after(BoundStep& bound, uint32_t lane, const plan::Step& step) {
    bound.after = static_cast<uint32_t>(bound_->after.size());
    for (const plan::After& after : step.after) {
      if (needed(after)) bound_->after.push_back(ids_[after.lane][after.step]);
    }
    // What a step reads where it landed is a dependency whether or not it is named.
    for (const plan::ChunkRun& src : step.src) {
      if (src.space == plan::Space::kReceived) bound_->after.push_back(ids_[lane][src.block]);
    }
    bound.after_count = static_cast<uint32_t>(bound_->after.size()) - bound.after;
  }

  void add_sources(BoundStep& bound, uint32_t lane, const plan::Step& step) {
    bound.src = static_cast<uint32_t>(bound_->runs.size());
    bound.src_count = static_cast<uint32_t>(step.src.size());
    for (plan::ChunkRun run : step.src) {
      if (run.space == plan::Space::kReceived) run.block = ids_[lane][run.block];
      bound_->runs.push_back(run);
    }
  }

  Status add_link(BoundStep& bound, uint32_t peer) {
    COMITY_ASSIGN_OR_RETURN(bound.link, context_.link_to(peer, static_cast<uint32_t>(part_.lanes.size())));
    if (std::find(bound_->links.begin(), bound_->links.end(), bound.link) == bound_->links.end()) {
      bound_->links.push_back(bound.link);
    }
    bound_->transports |= context_.transport_bit(peer);
    return {};
  }

  Status add_group(BoundStep& bound, const plan::Step& step) {
    const plan::Group& group = part_.groups[step.group];
    bound.kind = BoundKind::kGroup;
    bound.group = static_cast<uint32_t>(bound_->groups.size());
    const bool divides = divides_first_ ? !group.partial : group.last;
    const Collective collective = planned_.compares_lengths ? varied(group.collective) : group.collective;
    bound_->groups.push_back(
        {collective, group.root, divides, step.order, step.lag, provider_for(planned_, group, context_)});
    for (uint32_t member : group.members) {
      if (member != context_.rank()) bound_->transports |= context_.transport_bit(member);
    }
    bound.src = static_cast<uint32_t>(bound_->runs.size());
    bound.src_count = static_cast<uint32_t>(step.src.size());
    bound_->runs.insert(bound_->runs.end(), step.src.begin(), step.src.end());
    bound.dst_runs = static_cast<uint32_t>(bound_->runs.size());
    bound.dst_count = static_cast<uint32_t>(step.dst.size());
    bound_->runs.insert(bound_->runs.end(), step.dst.begin(), step.dst.end());
    bound_->max_group_runs = std::max<uint64_t>(bound_->max_group_runs, step.src.size() + step.dst.size());
    return {};
  }

  void sort_groups() {
    std::vector<BoundGroup>& groups = bound_->groups;
    std::sort(groups.begin(), groups.end(),
              [](const BoundGroup& a, const BoundGroup& b) { return a.order < b.order; });
    for (uint32_t lane = 0; lane < part_.lanes.size(); ++lane) {
      for (uint32_t i = 0; i < part_.lanes[lane].steps.size(); ++i) {
        const plan::Step& step = part_.lanes[lane].steps[i];
        if (step.kind != plan::StepKind::kGroup) continue;
        const auto found =
            std::lower_bound(groups.begin(), groups.end(), step.order,
                             [](const BoundGroup& group, uint32_t order) { return group.order < order; });
        bound_->steps[ids_[lane][i]].group = static_cast<uint32_t>(found - groups.begin());
      }
    }
  }

  // Such a call needs no executor.
  bool is_group_alone() const {
    const Binding& bound = *bound_;
    if (bound.on_device || bound.in_fp32 || bound.steps.size() != 1 ||
        bound.steps[0].kind != BoundKind::kGroup)
      return false;
    const uint64_t chunks = bound.shape.weights.size();
    return bound.shape.tile_bytes >= kMaxGroupTile &&
           std::all_of(bound.runs.begin(), bound.runs.end(), [chunks](const plan::ChunkRun& run) {
             return run.space != plan::Space::kScratch && run.first == 0 && run.count == chunks;
           });
  }

  // Of whole blocks nobody knows beforehand what they take; bounce memory is then kept call by call.
  bool whole_blocks() const { return bound_->shape.tile_bytes == plan::kWholeBlock; }

  // Bytes to keep for a run: its length in a full tile, and room for the rounding of shorter ones.
  uint64_t room(const plan::ChunkRun& run) const {
    return round_up(begins_[run.first + run.count] - begins_[run.first] + 64, 128);
  }

  void lay_out_memory() {
    const uint64_t tile = round_up(bound_->shape.tile_bytes, 128);
    bound_->landing_base = tile * bound_->shape.scratch_slots;
    uint64_t landing = 0, bounce = 0;
    for (BoundStep& step : bound_->steps) {
      if (step.kind == BoundKind::kRecv && step.lands) {
        step.landing = landing;
        landing += room(step.dst);
      }
      if (!bound_->on_device || whole_blocks()) continue;
      step.bounce = bounce;
      if (step.kind == BoundKind::kSend) bounce += room(bound_->runs[step.src]);
      if (step.kind == BoundKind::kRecv) bounce += room(step.dst);
      if (step.kind != BoundKind::kGroup) continue;
      for (uint32_t i = 0; i < step.src_count; ++i) bounce += room(bound_->runs[step.src + i]);
      for (uint32_t i = 0; i < step.dst_count; ++i) bounce += room(bound_->runs[step.dst_runs + i]);
    }
    bound_->scratch_bytes = bound_->landing_base + landing;
    bound_->bounce_bytes = bounce;
    if (bound_->in_fp32) lay_out_images(tile);
    bound_->partial.reserve(bound_->runs.size());
    for (const plan::ChunkRun& run : bound_->runs) {
      bound_->partial.push_back(run.partial ? 1 : 0);
      bound_->extents.push_back(
          plan::extent_of(bound_->shape, context_.rank(), run).value_or(plan::kImplied));
    }
  }

  void lay_out_images(uint64_t stride) {
    const plan::Shape& shape = bound_->shape;
    const bool no_output = takes_to_root(shape.collective) && context_.rank() != shape.root;
    bound_->image_inputs = plan::input_blocks(shape);
    bound_->image_outputs = no_output ? 0 : plan::output_blocks(shape);
    bound_->image_base = round_up(bound_->scratch_bytes, 128);
    bound_->image_stride = stride;
    const uint64_t images = stride * (bound_->image_inputs + bound_->image_outputs);
    bound_->scratch_bytes = bound_->image_base + images;
    if (caller_on_device_) bound_->bounce_bytes = scaled_ ? images : images / 2;
  }

  const PlannedPart& planned_;
  const plan::Part& part_;
  bool divides_first_;
  bool scaled_;
  bool caller_on_device_ = false;
  BindingContext& context_;
  std::unique_ptr<Binding> bound_;
  std::vector<uint64_t> begins_;
  std::vector<std::vector<uint32_t>> ids_;
  std::vector<std::vector<bool>> fused_;
};

// Whether each group of a part has a provider: what it decides about a group all its members decide alike.
std::vector<bool> provided(const PlannedPart& planned, BindingContext& context) {
  std::vector<bool> provided;
  for (const plan::Group& group : planned.part.groups)
    provided.push_back(provider_for(planned, group, context) != nullptr);
  return provided;
}

// In tiles of which length a part runs. All ranks must come to the same, so it goes by what all of them know.
uint64_t native_tile_bytes(const PlannedPart& planned, const std::vector<bool>& provided) {
  if (planned.shape.tile_bytes != plan::kWholeBlock) return std::min(planned.shape.tile_bytes, kMaxGroupTile);
  for (size_t i = 0; i < planned.part.groups.size(); ++i) {
    if (provided[i] && planned.part.groups[i].members.size() == planned.shape.nranks)
      return planned.compares_lengths ? plan::kWholeBlock : kMaxGroupTile;
  }
  return kMaxTile;
}

// Those of a plan in fp32 keep its images small.
uint64_t tile_bytes(const PlannedPart& planned, const std::vector<bool>& provided) {
  if (!planned.in_fp32) return native_tile_bytes(planned, provided);
  const plan::Shape& shape = planned.shape;
  const uint64_t blocks = uint64_t{plan::input_blocks(shape)} + plan::output_blocks(shape);
  const uint64_t most = kMaxImages / (blocks * shape.window) / 64 * 64;
  return std::min({shape.tile_bytes, kMaxTile, std::max(most, kLeastImageTile)});
}

}  // namespace

uint64_t Binding::bytes() const {
  uint64_t bytes = sizeof(Binding);
  const auto add = [&bytes](const auto& vector) { bytes += vector.capacity() * sizeof(vector[0]); };
  add(shape.weights);
  add(lanes);
  for (const auto& lane : lanes) add(lane);
  add(steps);
  add(runs);
  add(after);
  add(groups);
  add(links);
  return bytes;
}

Result<std::unique_ptr<Binding>> bind(const PlannedPart& planned, bool in_place, bool on_device,
                                      BindingContext& context) {
  if (plan::VerifyResult checked = plan::check_part(planned.shape, planned.part); !checked.ok) {
    return Status(Code::kInternalError,
                  fmt::format("plan {} for rank {} breaks rule {} at lane {}, step {}: {}",
                              planned.shape.algorithm, context.rank(), checked.violation.rule,
                              checked.violation.lane, checked.violation.step, checked.violation.message));
  }
  const std::vector<bool> kept = provided(planned, context);
  plan::Shape shape = planned.shape;
  shape.tile_bytes = tile_bytes(planned, kept);
  const bool all_kept = std::find(kept.begin(), kept.end(), false) == kept.end();
  const plan::Part part = all_kept ? planned.part : plan::expand(planned.part, kept);
  COMITY_ASSIGN_OR_RETURN(auto bound, Binder(planned, shape, part, in_place, on_device, context).run());
  bound->plan_hash = planned.in_fp32 ? mix(planned.hash, 32) : planned.hash;
  return bound;
}

}  // namespace comity::engine
