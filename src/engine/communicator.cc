#include "src/engine/communicator.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/hash.h"
#include "src/engine/driver.h"

namespace comity::engine {

Communicator::Communicator(CommunicatorOptions options) : options_(std::move(options)) {
  links_.resize(options_.nranks);
  alone_pieces_.resize(2 * size_t{options_.nranks} + 2);
}

Communicator::~Communicator() {
  if (device_scratch_ != nullptr) static_cast<void>(scratch_device_->release(device_scratch_));
}

// --- bindings ----------------------------------------------------------------------------------------------

Result<Link*> Communicator::link_to(uint32_t peer, uint32_t lanes) {
  if (links_[peer] == nullptr) {
    Transport& transport = *options_.transports[options_.transport_of_peer[peer]];
    COMITY_ASSIGN_OR_RETURN(auto endpoints, transport.endpoints(peer));
    links_[peer] =
        std::make_unique<Link>(peer, static_cast<uint32_t>(options_.id), endpoints, options_.release);
  }
  COMITY_RETURN_IF_ERROR(links_[peer]->ensure_lanes(lanes));
  return links_[peer].get();
}

GroupProvider* Communicator::provider_of(const std::vector<uint32_t>& members) {
  uint32_t transport = UINT32_MAX;
  for (const uint32_t member : members) {
    if (member == options_.rank) continue;
    const uint32_t its = options_.transport_of_peer[member];
    if (transport != UINT32_MAX && transport != its) return nullptr;
    transport = its;
  }
  return transport == UINT32_MAX ? nullptr : options_.transports[transport]->group(members);
}

bool Communicator::in_place(const Call& call, uint64_t block_bytes) const {
  const auto* input = static_cast<const std::byte*>(call.input);
  const auto* output = static_cast<const std::byte*>(call.output);
  switch (call.collective) {
    case Collective::kAllGather:
      return input == output + options_.rank * block_bytes;
    case Collective::kReduceScatter:
      return output == input + options_.rank * block_bytes;
    default:
      return input == output;
  }
}

Result<const Binding*> Communicator::binding_for(const Call& call, Partials partials, uint64_t block_bytes,
                                                 bool in_place, Device& device) {
  const uint32_t picked = options_.plans->pick(call.collective, partials, block_bytes);
  const uint64_t key = uint64_t{picked} << 40 | uint64_t{call.root} << 8 |
                       uint64_t{static_cast<uint8_t>(call.collective)} << 2 |
                       (device.host_addressable() ? 0u : 2u) | (in_place ? 1u : 0u);
  const uint32_t slot =
      picked * 8 + static_cast<uint32_t>(call.collective) + call.root * 5 + (in_place ? 32 : 0);
  if (const Binding* found = bindings_.find(key, slot)) return found;
  COMITY_ASSIGN_OR_RETURN(PlannedPart planned, options_.plans->generate(call.collective, picked, call.root));
  COMITY_ASSIGN_OR_RETURN(auto binding, bind(planned, in_place, !device.host_addressable(), *this));
  COMITY_RETURN_IF_ERROR(provide_memory(*binding, device));
  executor_.prepare(*binding);
  return bindings_.add(key, slot, std::move(binding));
}

void Communicator::forget_bindings() {
  bindings_.clear();
  binding_ = nullptr;
}

// Scratch is shared by all bindings, since calls execute one at a time; it only grows.
Status Communicator::provide_memory(const Binding& binding, Device& device) {
  const uint64_t scratch = binding.shape.window * binding.scratch_bytes;
  const uint64_t bounce = binding.shape.window * binding.bounce_bytes;
  if (bounce > bounce_.bytes()) bounce_ = Mapping(bounce);
  if (!bounce_.valid())
    return Status(Code::kSystemError, fmt::format("no memory for {} bytes of bounce buffers", bounce));
  if (!binding.on_device) {
    if (scratch > host_scratch_.bytes()) host_scratch_ = Mapping(scratch);
    if (host_scratch_.valid()) return {};
    return Status(Code::kSystemError, fmt::format("no memory for {} bytes of scratch", scratch));
  }
  if (scratch <= device_scratch_bytes_ && scratch_device_ == &device) return {};
  if (device_scratch_ != nullptr) COMITY_RETURN_IF_ERROR(scratch_device_->release(device_scratch_));
  device_scratch_ = nullptr;
  device_scratch_bytes_ = 0;
  if (scratch == 0) return {};
  COMITY_ASSIGN_OR_RETURN(void* memory, device.allocate(scratch));
  device_scratch_ = static_cast<std::byte*>(memory);
  device_scratch_bytes_ = scratch;
  scratch_device_ = &device;
  return {};
}

// --- calls -------------------------------------------------------------------------------------------------

Result<Device*> Communicator::device_for(const Call& call, uint64_t block_bytes) {
  Device* device = &options_.devices->host();
  if (call.collective == Collective::kBarrier) return device;
  for (const void* pointer : {call.input, static_cast<const void*>(call.output)}) {
    if (pointer == nullptr) continue;
    Device& owner = options_.devices->device_of(pointer, block_bytes);
    if (owner.host_addressable()) continue;
    if (!device->host_addressable() && device != &owner) {
      return Status(Code::kInvalidArgument,
                    fmt::format("input and output of {} are on different devices, {} and {}",
                                name_of(call.collective), device->name(), owner.name()));
    }
    device = &owner;
  }
  return device;
}

Status Communicator::start(const Call& call) {
  if (!error_.ok()) return error_;
  if (in_flight_) return Status(Code::kInvalidUsage, "a collective is in flight on this communicator");
  const bool barrier = call.collective == Collective::kBarrier;
  const uint64_t block_bytes = barrier ? plan::kBarrierBytes : call.count * size_of(call.type);
  control::CallRecord record{++number_, 0, call.count, call.root, call.collective, call.type, call.op};
  alone_ = nullptr;
  binding_ = nullptr;
  saw_mismatch_ = false;
  if (block_bytes == 0) {
    record.signature = control::signature_of(record, 0);
    if (options_.calls != nullptr) options_.calls->record(record);
    return {};
  }
  Result<Device*> device = device_for(call, block_bytes);
  if (!device.ok()) {
    --number_;
    return device.status();
  }
  const bool placed = in_place(call, block_bytes);
  Partials partials = partials_of(call.type, call.op);
  if (partials != Partials::kExact && !is_reduction(call.collective)) partials = Partials::kExact;
  Result<const Binding*> binding = binding_for(call, partials, block_bytes, placed, **device);
  if (!binding.ok()) {
    fail(binding.status());
    return error_;
  }
  record.signature = control::signature_of(record, (*binding)->plan_hash);
  if (options_.calls != nullptr) options_.calls->record(record);
  in_flight_ = true;
  binding_ = *binding;
  if (binding_->group_alone && block_bytes <= kMaxGroupTile) {
    alone_call_.signature = group_signature(record.signature, 0, binding_->groups[0].order);
    start_group_alone(*binding_, call, block_bytes);
    return {};
  }
  Arguments arguments;
  arguments.type = call.type;
  arguments.op = call.op == RedOp::kAvg ? RedOp::kSum : call.op;
  arguments.block_bytes = block_bytes;
  arguments.signature = record.signature;
  arguments.divisor = call.op == RedOp::kAvg ? options_.nranks : 0;
  arguments.input = static_cast<std::byte*>(const_cast<void*>(call.input));
  arguments.output = static_cast<std::byte*>(call.output);
  arguments.device = *device;
  arguments.scratch = binding_->on_device ? device_scratch_ : host_scratch_.data();
  arguments.bounce = bounce_.data();
  if (binding_->in_fp32) [[unlikely]] {
    use_images(call, **device, arguments);
  }
  executor_.begin(*binding_, arguments);
  return {};
}

// The plan works on fp32 images in host memory, and on nothing of the caller's.
void Communicator::use_images(const Call& call, Device& device, Arguments& arguments) {
  images_ = ImageSource{call.type, call.count,           arguments.input, arguments.output,
                        &device,   host_scratch_.data(), bounce_.data()};
  arguments.type = DataType::kFloat32;
  arguments.block_bytes = call.count * sizeof(float);
  arguments.input = arguments.output = nullptr;
  arguments.device = &options_.devices->host();
  arguments.images = &images_;
}

void Communicator::start_group_alone(const Binding& binding, const Call& call, uint64_t block_bytes) {
  const BoundStep& step = binding.steps[0];
  const BoundGroup& group = binding.groups[step.group];
  alone_call_.collective = group.collective;
  alone_call_.type = call.type;
  alone_call_.op = call.op == RedOp::kAvg ? RedOp::kSum : call.op;
  alone_call_.root = group.root;
  alone_call_.divisor = call.op == RedOp::kAvg && group.last ? options_.nranks : 0;
  auto* input = static_cast<std::byte*>(const_cast<void*>(call.input));
  auto* output = static_cast<std::byte*>(call.output);
  Piece* piece = alone_pieces_.data();
  for (uint32_t i = 0; i < step.src_count; ++i) {
    const plan::ChunkRun& run = binding.runs[step.src + i];
    *piece++ =
        Piece{(run.space == plan::Space::kInput ? input : output) + run.block * block_bytes, block_bytes};
  }
  for (uint32_t i = 0; i < step.dst_count; ++i) {
    const plan::ChunkRun& run = binding.runs[step.dst_runs + i];
    *piece++ =
        Piece{(run.space == plan::Space::kInput ? input : output) + run.block * block_bytes, block_bytes};
  }
  alone_call_.src = std::span(alone_pieces_.data(), step.src_count);
  alone_call_.dst = std::span(alone_pieces_.data() + step.src_count, step.dst_count);
  alone_ = group.provider;
  alone_->start(alone_call_);
}

Progress Communicator::poll() {
  if (!in_flight_) return poll_idle();
  const Progress progress = alone_ != nullptr ? alone_->poll() : executor_.poll();
  if (progress == Progress::kDone) in_flight_ = false;
  if (progress == Progress::kFailed) return fail(alone_ != nullptr ? alone_->error() : executor_.error());
  if (progress == Progress::kMismatch) {
    if (options_.oversight == nullptr) {
      return fail(Status(Code::kInvalidUsage,
                         fmt::format("another rank's collective {} has another signature", number_)));
    }
    if (!saw_mismatch_) report_mismatch();
    saw_mismatch_ = true;
    return Progress::kBusy;
  }
  if (is_unfinished(progress) && alone_ == nullptr) {
    for (size_t i = 0; i < options_.transports.size(); ++i) {
      if ((binding_->transports >> i & 1u) == 0) continue;
      if (Status status = options_.transports[i]->progress(); !status.ok()) return fail(std::move(status));
    }
  }
  return progress;
}

// The calls that differ may lie before this one: a rank that only sent has left its call long ago.
void Communicator::report_mismatch() {
  constexpr uint64_t kLookBack = 16;
  const uint64_t first = number_ > kLookBack ? number_ - kLookBack : 1;
  for (uint64_t number = first; number <= number_; ++number) options_.oversight->report(number);
}

// What the control plane decides explains more than the broken connection that follows from it, and is the
// same on all ranks: unless this rank was aborted, the call ends when that is known.
Progress Communicator::fail(Status status) {
  if (alone_ == nullptr && in_flight_) executor_.abandon();
  in_flight_ = false;
  if (!error_.ok()) return Progress::kFailed;
  undecided_ = std::move(status);
  const bool asks = options_.oversight != nullptr && !aborted();
  if (asks && !options_.oversight->condemned()) options_.oversight->declare(undecided_);
  if (!asks) settle();
  return poll_idle();
}

Progress Communicator::poll_idle() {
  if (!undecided_.ok()) {
    if (!options_.oversight->condemned()) return Progress::kBusy;
    settle();
  }
  return error_.ok() ? Progress::kDone : Progress::kFailed;
}

void Communicator::settle() {
  const bool condemned = options_.oversight != nullptr && options_.oversight->condemned();
  error_ = condemned ? options_.oversight->verdict() : std::move(undecided_);
  undecided_ = {};
  failed_.store(true, std::memory_order_release);
}

void Communicator::abort() {
  aborted_.store(true, std::memory_order_release);
  for (Transport* transport : options_.transports) transport->wake();
}

Status Communicator::run(const Call& call) {
  return Driver::run(*this, call);
}

}  // namespace comity::engine
