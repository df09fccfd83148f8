// Calls that not every program makes: v-variants, whose blocks have lengths of their own, premulsum, and
// exchanges.
#include <fmt/core.h>

#include <utility>

#include "src/base/arithmetic.h"
#include "src/engine/communicator.h"
#include "src/plan/extents.h"

namespace comity::engine {

bool Communicator::in_place_varying(const Call& call) const {
  const auto* input = static_cast<const std::byte*>(call.input);
  const auto* output = static_cast<const std::byte*>(call.output);
  if (input == nullptr || output == nullptr) return false;
  if (!call.output_blocks.empty() && !call.input_blocks.empty()) return false;
  if (!call.output_blocks.empty()) return input == output + call.output_blocks.offsets[options_.rank];
  return !call.input_blocks.empty() && output == input + call.input_blocks.offsets[options_.rank];
}

// Where every rank is given all lengths these belong to the call's signature, and a call without bytes is
// over. Else each pair tells its own, also where there is nothing to send.
Status Communicator::start_uncommon(const Call& call) {
  const bool varies = is_varying(call.collective);
  const bool common = varies && plan::all_lengths_are_given(call.collective);
  varying_ = varies ? varying_blocks(call, !common) : VaryingBlocks();
  varying_collective_ = call.collective;
  varying_type_ = call.type;
  const size_t element = size_of(call.type),
               worked = call.scalar.used ? size_of(image_type_of(call)) : element;
  const uint64_t longest = varies ? varying_.longest() : call.count * element;
  const uint64_t lengths = common ? hash_of_lengths(varying_.first) : 0;
  control::CallRecord record{++number_,
                             0,
                             varies ? 0 : call.count,
                             call.root,
                             call.collective,
                             call.type,
                             call.scalar.used ? control::kPreMulSum : call.op};
  alone_ = nullptr;
  binding_ = nullptr;
  saw_mismatch_ = false;
  exchange_transports_ = 0;
  if (common) {
    for (const uint64_t bytes : varying_.first) record.count += bytes / element;
    record.root = static_cast<uint32_t>(lengths);
  }
  if (longest == 0 && (common || !varies)) {
    record.signature = control::signature_of(record, lengths);
    announce(record);
    return {};
  }
  const Placement placement = placement_of(call, varies ? 1 : longest);
  Device& device = *placement.device;
  Status ready;
  if (placement.input == nullptr && call.scalar.used) ready = begin_scalar(call);
  if (!ready.ok() || placement.input != nullptr) {
    --number_;
    return ready.ok() ? stage(call, placement, longest) : ready;
  }
  const bool rounds = is_reduction(call.collective) && !call.scalar.used;
  const Partials partials = rounds ? partials_of(call.type, call.op) : Partials::kExact;
  const bool placed = varies ? in_place_varying(call) : in_place(call, longest);
  Result<const Binding*> binding = binding_for(call, partials, longest / element * worked, placed, device);
  if (!binding.ok()) {
    fail(binding.status());
    return error_;
  }
  if (Status held = provide_bounce(bounce_of_whole_blocks(**binding)); !held.ok()) {
    fail(std::move(held));
    return error_;
  }
  record.signature = control::signature_of(record, (*binding)->plan_hash ^ lengths);
  const uint64_t announced = announce(record);
  in_flight_ = true;
  binding_ = *binding;
  if (varies && binding_->group_alone && longest <= binding_->shape.tile_bytes) {
    start_varying_alone(call, announced);
    return {};
  }
  if ((binding_->transports & registering_) != 0)
    varies ? begin_memory_varying(call) : begin_memory(call, longest);
  begin_uncommon(call, longest, announced, device);
  return {};
}

void Communicator::begin_uncommon(const Call& call, uint64_t longest, uint64_t signature, Device& device) {
  Arguments arguments = arguments_of(call, longest, signature, device);
  if (binding_->in_fp32) {
    use_images(call, device, arguments);
    varying_.element_bytes = static_cast<uint32_t>(size_of(call.type));
    varying_.worked_bytes = static_cast<uint32_t>(size_of(images_.image_type));
    arguments.block_bytes = longest / varying_.element_bytes * varying_.worked_bytes;
    if (call.scalar.used) {
      images_.scalar = scalar_->data();
      images_.scalar_device = scalar_device_;
      images_.scalar_token = scalar_token_;
    }
    images_.varying = is_varying(call.collective) ? &varying_ : nullptr;
    images_.output_extent = options_.rank;
  }
  if (is_varying(call.collective)) arguments.varying = &varying_;
  executor_.begin(*binding_, arguments);
}

// As start_group_alone(), each piece with the length of its own block.
void Communicator::start_varying_alone(const Call& call, uint64_t signature) {
  const Binding& binding = *binding_;
  const BoundStep& step = binding.steps[0];
  const BoundGroup& group = binding.groups[step.group];
  alone_call_.collective = group.collective;
  alone_call_.type = call.type;
  alone_call_.op = call.op == RedOp::kAvg ? RedOp::kSum : call.op;
  alone_call_.root = group.root;
  alone_call_.divisor = call.op == RedOp::kAvg && group.last ? options_.nranks : 0;
  alone_call_.signature = group_signature(signature, 0, group.order);
  auto* input = static_cast<std::byte*>(const_cast<void*>(call.input));
  auto* output = static_cast<std::byte*>(call.output);
  Piece* piece = alone_pieces_.data();
  for (const auto& [first, count] : {std::pair{step.src, step.src_count}, {step.dst_runs, step.dst_count}}) {
    for (uint32_t i = first; i < first + count; ++i) {
      const plan::ChunkRun& run = binding.runs[i];
      const bool of_input = run.space == plan::Space::kInput;
      const auto& offsets = of_input ? varying_.input_offsets : varying_.output_offsets;
      std::byte* const buffer = of_input ? input : output;  // may be null where nothing lies there
      const uint64_t bytes = varying_.length(binding.extents[i]);
      *piece++ = Piece{bytes == 0 || offsets.empty() ? buffer : buffer + offsets[run.block], bytes};
    }
  }
  alone_call_.src = std::span(alone_pieces_.data(), step.src_count);
  alone_call_.dst = std::span(alone_pieces_.data() + step.src_count, step.dst_count);
  alone_ = group.provider;
  alone_->start(alone_call_);
}

Status Communicator::provide_bounce(uint64_t bytes) {
  return provide(bounce_, bytes, "bounce buffers");
}

// What the one group of a call takes whose blocks lie in a device's memory, and go to its provider whole.
uint64_t Communicator::bounce_of_whole_blocks(const Binding& binding) const {
  uint64_t bytes = 0;
  if (!binding.on_device || binding.shape.tile_bytes != plan::kWholeBlock) return bytes;
  for (const uint32_t extent : binding.extents) bytes += round_up(varying_.length(extent), 128);
  return bytes;
}

// From a device it is a copy of one element, which the first tiles wait for.
Status Communicator::begin_scalar(const Call& call) {
  give_scalar_back();
  if (scalar_ == nullptr) scalar_ = std::make_unique<std::array<std::byte, 8>>();
  *scalar_ = call.scalar.value;
  if (call.scalar.pointer == nullptr) {
    widen_scalar(call.type, scalar_->data());
    return {};
  }
  const size_t element = size_of(call.type);
  Device& owner = options_.devices->device_of(call.scalar.pointer, element);
  COMITY_ASSIGN_OR_RETURN(scalar_token_, owner.copy(0, scalar_->data(), call.scalar.pointer, element));
  scalar_device_ = &owner;
  return {};
}

// A device that still copies there, for a call that was given up, keeps the memory.
void Communicator::give_scalar_back() {
  Device* const device = std::exchange(scalar_device_, nullptr);
  if (device == nullptr) return;
  if (const Result<bool> done = device->poll(0, scalar_token_); !done.ok() || !*done)
    options_.devices->keep(std::shared_ptr<void>(std::move(scalar_)));
}

// What a length that differs comes to; success where it is something else that differs.
Status Communicator::difference_of_lengths() const {
  if (binding_ == nullptr) return {};
  for (const BoundGroup& group : binding_->groups) {
    const auto differing = group.provider != nullptr ? group.provider->differing() : std::nullopt;
    if (differing) return difference(*differing);
  }
  if (alone_ != nullptr || !executor_.compares_lengths()) return {};
  for (const Link* link : binding_->links) {
    const Differing* differing = link->differing();
    if (differing == nullptr) continue;
    const uint64_t call = executor_.signature();
    const auto expected = length_of_signature(call, differing->expected);
    const auto arrived = length_of_signature(call, differing->arrived);
    if (!expected || !arrived) continue;
    return difference({link->peer(), options_.rank, *arrived, *expected});
  }
  return {};
}

Status Communicator::difference(const DifferingLengths& lengths) const {
  const size_t element = size_of(varying_type_);
  return Status(
      Code::kInvalidUsage,
      fmt::format("ranks disagree on a length in collective {}, {}: rank {} sent {} {}, rank {} receives {}",
                  number_, name_of(varying_collective_), lengths.giver, lengths.given_bytes / element,
                  name_of(varying_type_), lengths.taker, lengths.taken_bytes / element));
}

// --- Sends and Recvs ---------------------------------------------------------------------------------------

// Not numbered among the collectives, and in no log: who is not in it never hears of it.
Status Communicator::start_exchange(const Call& call) {
  if (exchange_ == nullptr) {
    exchange_ = std::make_unique<Exchange>(options_.rank, options_.nranks, *options_.devices);
    pair_counts_.resize(options_.nranks);
  }
  COMITY_RETURN_IF_ERROR(exchange_->check(call.exchange));
  alone_ = nullptr;
  binding_ = nullptr;
  saw_mismatch_ = false;
  exchange_transports_ = 0;
  exchanged_ = call.exchange;
  in_flight_ = true;
  if (registering_ != 0) [[unlikely]]
    end_memory();
  if (Status begun = exchange_->begin(call.exchange, *this); !begun.ok()) fail(std::move(begun));
  return error_;
}

Progress Communicator::poll_exchange() {
  const Progress progress = exchange_->poll();
  if (progress == Progress::kDone) count(exchanged_, pair_counts_);
  return progress;
}

void Communicator::count(std::span<const PointToPoint> messages, std::vector<PairCounts>& counts) {
  for (const PointToPoint& message : messages) {
    PairCounts& its = counts[message.peer];
    ++(message.sends ? its.sends : its.receives);
  }
}

std::vector<control::PairCount> Communicator::used(std::span<const PairCounts> counts) {
  std::vector<control::PairCount> pairs;
  for (uint32_t peer = 0; peer < counts.size(); ++peer) {
    if (counts[peer].sends != 0 || counts[peer].receives != 0)
      pairs.push_back({peer, counts[peer].sends, counts[peer].receives});
  }
  return pairs;
}

}  // namespace comity::engine
