#include "src/engine/executor.h"

#include <algorithm>

namespace comity::engine {

using plan::ChunkRun;
using plan::Space;

namespace {

// What one poll does at most before the caller may look at abort, verdict and clock.
constexpr int kPasses = 4;
constexpr uint64_t kTilesAtOnce = 8;

}  // namespace

void Executor::prepare(const Binding& binding) {
  const size_t steps = binding.steps.size();
  const size_t window = binding.shape.window;
  complete_.resize(std::max(complete_.size(), steps * window));
  slots_.resize(std::max(slots_.size(), window));
  lanes_.resize(std::max(lanes_.size(), binding.lanes.size()));
  tokens_.reserve(std::max(tokens_.capacity(), steps * window));
  group_next_.resize(std::max(group_next_.size(), binding.groups.size()));
  pieces_.resize(std::max<size_t>(pieces_.size(), binding.max_group_runs));
  size_t most_sources = 1;
  for (const BoundStep& step : binding.steps) most_sources = std::max<size_t>(most_sources, step.src_count);
  sources_.resize(std::max(sources_.size(), most_sources));
  if (binding.in_fp32) images_.prepare(binding);
  full_begins_.reserve(binding.shape.weights.size() + 1);
  last_begins_.reserve(binding.shape.weights.size() + 1);
}

void Executor::begin(const Binding& binding, const Arguments& arguments) {
  binding_ = &binding;
  args_ = arguments;
  input_ = args_.input;
  output_ = args_.output;
  stride_ = args_.block_bytes;
  if (binding.in_fp32) [[unlikely]] {
    input_ = args_.scratch + binding.image_base;
    output_ = input_ + binding.image_inputs * binding.image_stride;
    stride_ = binding.image_stride;
    images_.begin(binding, *args_.images);
  }
  error_ = {};
  tiles_ = plan::tile_count(binding.shape, args_.block_bytes);
  tiles_complete_ = 0;
  tokens_.clear();
  provider_ = nullptr;
  std::fill(group_next_.begin(), group_next_.end(), uint64_t{0});
  for (TileSlot& slot : slots_) slot = TileSlot{};
  for (size_t lane = 0; lane < binding.lanes.size(); ++lane) {
    lanes_[lane] = LaneState{};
    if (binding.lanes[lane].empty()) lanes_[lane].tile = tiles_;
  }
  if (binding.steps.empty()) tiles_ = 0;
  if (args_.varying != nullptr) [[unlikely]] {
    if (args_.varying->compares && !binding.steps.empty()) tiles_ = std::max<uint64_t>(tiles_, 1);
    return;
  }
  if (tiles_ == 0) return;
  plan::chunk_begins(binding.shape, plan::tile_length(binding.shape, args_.block_bytes, tiles_ - 1),
                     last_begins_);
  if (tiles_ > 1) plan::chunk_begins(binding.shape, binding.shape.tile_bytes, full_begins_);
}

Progress Executor::poll() {
  bool advanced = false;
  if (provider_ != nullptr) {
    const Progress group = poll_group();
    if (group == Progress::kFailed || group == Progress::kMismatch) return group;
    advanced = group != Progress::kBusy;
  }
  bool moved = true;
  for (int pass = 0; moved && pass < kPasses && error_.ok(); ++pass) {
    moved = false;
    for (uint32_t lane = 0; lane < binding_->lanes.size(); ++lane) moved |= advance_lane(lane);
    for (Link* link : binding_->links) moved |= link->progress();
    if (!tokens_.empty()) moved |= poll_tokens();
    advanced |= moved;
  }
  return outcome(advanced);
}

Progress Executor::outcome(bool advanced) {
  if (!error_.ok()) return Progress::kFailed;
  bool quiet = true;
  for (const Link* link : binding_->links) {
    if (link->mismatch()) return Progress::kMismatch;
    if (error_ = link->status(); !error_.ok()) return Progress::kFailed;
    quiet = quiet && link->quiescent();
  }
  if (quiet && tiles_complete_ == tiles_) return Progress::kDone;
  return advanced ? Progress::kAdvanced : Progress::kBusy;
}

void Executor::abandon() {
  if (binding_ == nullptr) return;
  for (Link* link : binding_->links) link->fence();
}

// --- tiles and lanes ---------------------------------------------------------------------------------------

bool Executor::enter_tile(LaneState& lane) {
  const auto index = static_cast<uint32_t>(lane.tile % binding_->shape.window);
  TileSlot& slot = slots_[index];
  if (slot.tile == lane.tile) return true;
  if (slot.remaining != 0) return false;  // an earlier tile still uses its scratch
  slot.offset = lane.tile * binding_->shape.tile_bytes;
  if (binding_->in_fp32 && !load_image(index, lane.tile)) [[unlikely]] {
    return false;
  }
  slot.tile = lane.tile;
  slot.remaining = static_cast<uint32_t>(binding_->steps.size());
  slot.begins = lane.tile + 1 == tiles_ ? last_begins_.data() : full_begins_.data();
  std::fill_n(complete_.begin() + static_cast<ptrdiff_t>(index * binding_->steps.size()),
              binding_->steps.size(), uint8_t{0});
  return true;
}

bool Executor::advance_lane(uint32_t index) {
  LaneState& lane = lanes_[index];
  const std::vector<uint32_t>& steps = binding_->lanes[index];
  bool moved = false;
  const uint64_t until = std::min(tiles_, lane.tile + kTilesAtOnce);
  while (lane.tile < until && error_.ok()) {
    if (!enter_tile(lane)) break;
    const auto slot = static_cast<uint32_t>(lane.tile % binding_->shape.window);
    const uint32_t id = steps[lane.next];
    if (!ready(slot, binding_->steps[id]) || !issue(index, lane, slot, id)) break;
    moved = true;
    lane.staged = false;
    if (++lane.next == steps.size()) {
      lane.next = 0;
      ++lane.tile;
    }
  }
  return moved;
}

bool Executor::ready(uint32_t slot, const BoundStep& step) const {
  const uint8_t* complete = complete_.data() + slot * binding_->steps.size();
  for (uint32_t i = 0; i < step.after_count; ++i) {
    if (complete[binding_->after[step.after + i]] == 0) return false;
  }
  return true;
}

void Executor::set_complete(uint32_t slot, uint32_t id) {
  complete_[slot * binding_->steps.size() + id] = 1;
  if (--slots_[slot].remaining == 0) finish_tile(slot);
}

// --- addresses ---------------------------------------------------------------------------------------------

std::byte* Executor::at(uint32_t slot, const ChunkRun& run, uint32_t extent) const {
  if (args_.varying != nullptr) [[unlikely]]
    return at_varying(slot, run, extent);
  const TileSlot& tile = slots_[slot];
  const uint64_t begin = tile.begins[run.first];
  std::byte* scratch = args_.scratch + slot * binding_->scratch_bytes;
  switch (run.space) {
    case Space::kInput:
      return input_ + run.block * stride_ + tile.offset + begin;
    case Space::kOutput:
      return output_ + run.block * stride_ + tile.offset + begin;
    case Space::kScratch:
      return scratch + run.block * ((binding_->shape.tile_bytes + 127) / 128 * 128) + begin;
    case Space::kReceived:
      break;
  }
  return scratch + binding_->landing_base + binding_->steps[run.block].landing;
}

// A tile of an extent is empty behind its end.
uint64_t Executor::tile_bytes_of(uint32_t slot, uint32_t extent) const {
  const uint64_t length = args_.varying->length(extent);
  const uint64_t begin = slots_[slot].tile * binding_->shape.tile_bytes;
  return begin < length ? std::min(binding_->shape.tile_bytes, length - begin) : 0;
}

uint64_t Executor::bytes_of_varying(uint32_t slot, const ChunkRun& run, uint32_t extent) const {
  const uint64_t tile = tile_bytes_of(slot, extent);
  return plan::chunk_begin(binding_->shape, tile, run.first + run.count) -
         plan::chunk_begin(binding_->shape, tile, run.first);
}

std::byte* Executor::at_varying(uint32_t slot, const ChunkRun& run, uint32_t extent) const {
  const TileSlot& tile = slots_[slot];
  std::byte* scratch = args_.scratch + slot * binding_->scratch_bytes;
  if (run.space == Space::kReceived)
    return scratch + binding_->landing_base + binding_->steps[run.block].landing;
  const uint64_t begin = plan::chunk_begin(binding_->shape, tile_bytes_of(slot, extent), run.first);
  if (run.space == Space::kScratch)
    return scratch + run.block * ((binding_->shape.tile_bytes + 127) / 128 * 128) + begin;
  const bool input = run.space == Space::kInput;
  const std::span<const uint64_t> offsets =
      input ? args_.varying->input_offsets : args_.varying->output_offsets;
  const uint64_t block = binding_->in_fp32 ? run.block * stride_ : offsets.empty() ? 0 : offsets[run.block];
  return (input ? input_ : output_) + block + tile.offset + begin;
}

// --- steps -------------------------------------------------------------------------------------------------

bool Executor::issue(uint32_t lane_index, LaneState& lane, uint32_t slot, uint32_t id) {
  const BoundStep& step = binding_->steps[id];
  switch (step.kind) {
    case BoundKind::kSend:
      return issue_send(lane_index, lane, slot, id, step);
    case BoundKind::kRecv:
    case BoundKind::kRecvReduce:
      return issue_recv(lane_index, slot, id, step);
    case BoundKind::kCopy:
      issue_copy(lane_index, slot, id, step);
      return true;
    case BoundKind::kReduce:
      issue_reduce(lane_index, slot, id, step);
      return true;
    case BoundKind::kGroup:
      return issue_group(lane_index, lane, slot, id, step);
  }
  return false;
}

bool Executor::issue_send(uint32_t lane_index, LaneState& lane, uint32_t slot, uint32_t id,
                          const BoundStep& step) {
  const ChunkRun& run = binding_->runs[step.src];
  const uint64_t bytes = bytes_of(slot, run, step.extent);
  if (skips(slot, bytes)) {
    set_complete(slot, id);
    return true;
  }
  if (!step.link->can_post_send(lane_index)) return false;
  const std::byte* source = at(slot, run, step.extent);
  if (binding_->on_device && bytes != 0) {
    // Messages of a lane keep their order, so the lane waits for the copy to the host.
    const uint32_t queue = queue_of(lane_index);
    if (!lane.staged) {
      Result<Token> token = args_.device->copy(queue, bounce_of(slot, step), source, bytes);
      if (!token.ok()) {
        error_ = token.status();
        return false;
      }
      lane.staged = true;
      lane.token = *token;
    }
    Result<bool> copied = args_.device->poll(queue, lane.token);
    if (!copied.ok()) error_ = copied.status();
    if (!copied.ok() || !*copied) return false;
    source = bounce_of(slot, step);
  }
  step.link->post_send(lane_index, source, bytes, signature_of(step), *this, tag_of(slot, id));
  return true;
}

bool Executor::issue_recv(uint32_t lane_index, uint32_t slot, uint32_t id, const BoundStep& step) {
  const uint64_t bytes = bytes_of(slot, step.dst, step.extent);
  if (skips(slot, bytes)) {
    set_complete(slot, id);
    return true;
  }
  if (!step.link->can_post_recv(lane_index)) return false;
  ReceiveAction action;
  if (binding_->on_device) {
    action.destination = bounce_of(slot, step);
  } else if (step.lands) {
    action.destination =
        args_.scratch + slot * binding_->scratch_bytes + binding_->landing_base + step.landing;
  } else {
    action.destination = at(slot, step.dst, step.extent);
  }
  if (step.kind == BoundKind::kRecvReduce) {
    action.reduce = true;
    action.received_first = step.received_first;
    action.operand = at(slot, binding_->runs[step.src], step.extent);
    action.type = args_.type;
    action.op = args_.op;
    action.divisor = step.last ? args_.divisor : 0;
    if (step.mixed) action.divided = std::span(binding_->partial).subspan(step.src).first<2>();
  }
  step.link->post_recv(lane_index, bytes, signature_of(step), action, *this, tag_of(slot, id));
  return true;
}

void Executor::issue_copy(uint32_t lane_index, uint32_t slot, uint32_t id, const BoundStep& step) {
  const ChunkRun& run = binding_->runs[step.src];
  const uint64_t bytes = bytes_of(slot, run, step.extent);
  std::byte* destination = at(slot, step.dst, step.extent);
  const std::byte* source = at(slot, run, step.extent);
  if (bytes == 0 || destination == source) {
    set_complete(slot, id);
    return;
  }
  wait_for(lane_index, args_.device->copy(queue_of(lane_index), destination, source, bytes),
           tag_of(slot, id));
}

void Executor::issue_reduce(uint32_t lane_index, uint32_t slot, uint32_t id, const BoundStep& step) {
  const uint64_t bytes = bytes_of(slot, step.dst, step.extent);
  if (bytes == 0) {
    set_complete(slot, id);
    return;
  }
  for (uint32_t i = 0; i < step.src_count; ++i)
    sources_[i] = at(slot, binding_->runs[step.src + i], step.extent);
  std::byte* destination = at(slot, step.dst, step.extent);
  ReduceWork work;
  work.type = args_.type;
  work.op = args_.op;
  work.sources = std::span(sources_.data(), step.src_count);
  work.destinations = std::span(&destination, 1);
  work.count = bytes / size_of(args_.type);
  work.divisor = step.last ? args_.divisor : 0;
  if (step.mixed) work.divided = std::span(binding_->partial).subspan(step.src, step.src_count);
  wait_for(lane_index, args_.device->reduce(queue_of(lane_index), work), tag_of(slot, id));
}

// --- groups ------------------------------------------------------------------------------------------------

// A provider's calls are numbered by the order of their start, which must be equal on all members whatever is
// ready first on each: the plan states it, by tile and lag, then by order.
bool Executor::groups_turn(uint64_t tile, uint32_t group) const {
  const auto count = static_cast<uint32_t>(binding_->groups.size());
  uint32_t next = 0;
  uint64_t earliest = UINT64_MAX;
  for (uint32_t g = 0; g < count; ++g) {
    const uint64_t at = group_next_[g] + binding_->groups[g].lag;
    if (group_next_[g] == tiles_ || at >= earliest) continue;
    earliest = at;
    next = g;
  }
  return next == group && group_next_[group] == tile;
}

bool Executor::issue_group(uint32_t lane_index, LaneState& lane, uint32_t slot, uint32_t id,
                           const BoundStep& step) {
  if (provider_ != nullptr || !groups_turn(slots_[slot].tile, step.group)) return false;
  if (binding_->on_device && !lane.staged) {
    std::byte* bounce = bounce_of(slot, step);
    Token last = 0;
    for (uint32_t i = 0; i < step.src_count; ++i) {
      const ChunkRun& run = binding_->runs[step.src + i];
      const uint32_t extent = binding_->extents[step.src + i];
      const uint64_t bytes = bytes_of(slot, run, extent);
      if (bytes == 0) continue;
      Result<Token> token = args_.device->copy(queue_of(lane_index), bounce, at(slot, run, extent), bytes);
      if (!token.ok()) {
        error_ = token.status();
        return false;
      }
      last = *token;
      bounce += (bytes + 127) / 128 * 128;
    }
    lane.staged = true;
    lane.token = last;
  }
  if (binding_->on_device) {
    Result<bool> copied = args_.device->poll(queue_of(lane_index), lane.token);
    if (!copied.ok()) error_ = copied.status();
    if (!copied.ok() || !*copied) return false;
  }
  group_tag_ = tag_of(slot, id);
  group_queue_ = queue_of(lane_index);
  group_copy_out_ = false;
  ++group_next_[step.group];
  start_group(slot, step);
  static_cast<void>(poll_group());
  return true;
}

void Executor::start_group(uint32_t slot, const BoundStep& step) {
  const BoundGroup& group = binding_->groups[step.group];
  std::byte* bounce = binding_->on_device ? bounce_of(slot, step) : nullptr;
  for (uint32_t i = 0; i < step.src_count + step.dst_count; ++i) {
    const uint32_t index = i < step.src_count ? step.src + i : step.dst_runs + i - step.src_count;
    const ChunkRun& run = binding_->runs[index];
    const uint32_t extent = binding_->extents[index];
    const uint64_t bytes = bytes_of(slot, run, extent);
    pieces_[i] = Piece{bounce != nullptr ? bounce : at(slot, run, extent), bytes};
    if (bounce != nullptr) bounce += (bytes + 127) / 128 * 128;
  }
  group_call_.collective = group.collective;
  group_call_.type = args_.type;
  group_call_.op = args_.op;
  group_call_.root = group.root;
  group_call_.divisor = group.last ? args_.divisor : 0;
  group_call_.signature = group_signature(args_.signature, slots_[slot].tile, group.order);
  group_call_.src = std::span(pieces_.data(), step.src_count);
  group_call_.dst = std::span(pieces_.data() + step.src_count, step.dst_count);
  provider_ = group.provider;
  provider_->start(group_call_);
}

Progress Executor::poll_group() {
  if (group_copy_out_) {
    Result<bool> copied = args_.device->poll(group_queue_, group_token_);
    if (!copied.ok()) {
      error_ = copied.status();
      return Progress::kFailed;
    }
    if (!*copied) return Progress::kBusy;
    provider_ = nullptr;
    set_complete(group_tag_ >> 24, group_tag_ & 0xffffff);
    return Progress::kDone;
  }
  const Progress progress = provider_->poll();
  if (progress == Progress::kFailed) error_ = provider_->error();
  if (progress != Progress::kDone) return progress;
  if (binding_->on_device && !finish_group()) return Progress::kFailed;
  if (group_copy_out_) return Progress::kBusy;
  provider_ = nullptr;
  set_complete(group_tag_ >> 24, group_tag_ & 0xffffff);
  return Progress::kDone;
}

// Device memory: takes the results from bounce memory to where they belong.
bool Executor::finish_group() {
  const uint32_t slot = group_tag_ >> 24;
  const BoundStep& step = binding_->steps[group_tag_ & 0xffffff];
  group_token_ = 0;
  for (uint32_t i = 0; i < step.dst_count; ++i) {
    const ChunkRun& run = binding_->runs[step.dst_runs + i];
    const Piece& piece = group_call_.dst[i];
    if (piece.bytes == 0) continue;
    std::byte* to = at(slot, run, binding_->extents[step.dst_runs + i]);
    Result<Token> token = args_.device->copy(group_queue_, to, piece.data, piece.bytes);
    if (!token.ok()) {
      error_ = token.status();
      return false;
    }
    group_token_ = *token;
  }
  group_copy_out_ = true;
  return true;
}

}  // namespace comity::engine
