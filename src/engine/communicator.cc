#include "src/engine/communicator.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "src/base/berth.h"
#include "src/base/hash.h"
#include "src/engine/driver.h"
#include "src/plan/extents.h"

namespace comity::engine {
namespace {

constexpr uint64_t kDeviceNs = 100'000;  // a sleep while a device works, which tells nobody that it is done

// Whose plan it is carried out by: what ranks tell each other in a split is gathered by all.
Collective plan_of(Collective collective) {
  return collective == Collective::kSplit ? Collective::kAllGather : collective;
}

}  // namespace

Communicator::Communicator(CommunicatorOptions options) : options_(std::move(options)) {
  links_.resize(options_.nranks);
  own_connections_.resize(options_.nranks);
  make_call_memory();
  if (options_.family != nullptr) {
    const std::vector<uint32_t>& members = options_.family_rank;
    rank_of_family_rank_.resize(*std::max_element(members.begin(), members.end()) + size_t{1}, UINT32_MAX);
    for (uint32_t rank = 0; rank < members.size(); ++rank) rank_of_family_rank_[members[rank]] = rank;
    options_.family->enter(options_.index, *this);
  }
  alone_pieces_.resize(2 * size_t{options_.nranks} + 2);
}

Communicator::~Communicator() {
  if (options_.family != nullptr) options_.family->leave(options_.index);
  if (device_goes_on_)
    leave_memory_to_devices();
  else if (device_scratch_ != nullptr)
    static_cast<void>(scratch_device_->release(device_scratch_));
  give_scalar_back();
}

// --- bindings ----------------------------------------------------------------------------------------------

Result<Link*> Communicator::link_to(uint32_t peer, uint32_t lanes) {
  const Family::Hold hold(to_hold(options_.transport_of_peer[peer]));
  COMITY_ASSIGN_OR_RETURN(Link * link, make_link(peer));
  COMITY_RETURN_IF_ERROR(link->ensure_lanes(lanes));
  return link;
}

Result<Link*> Communicator::make_link(uint32_t peer) {
  if (links_[peer] != nullptr) return links_[peer].get();
  const uint32_t number = options_.transport_of_peer[peer];
  Transport& transport = *options_.transports[number];
  Connections* connections = nullptr;
  if (is_shared(number)) {
    COMITY_ASSIGN_OR_RETURN(connections, options_.family->connections(transport, options_.family_rank[peer]));
  } else {
    COMITY_ASSIGN_OR_RETURN(const auto endpoints, transport.endpoints(peer));
    own_connections_[peer] = std::make_unique<Connections>(endpoints);
    connections = own_connections_[peer].get();
  }
  links_[peer] =
      std::make_unique<Link>(peer, options_.index, *connections, options_.release, memories_[number].get());
  return links_[peer].get();
}

// A peer that is a call ahead sends to this communicator before it is bound here, and another one of the
// family, on another thread, may be what progresses the connection.
SegmentSink* Communicator::sink_from(uint32_t family_rank) {
  if (family_rank >= rank_of_family_rank_.size()) return nullptr;
  const uint32_t peer = rank_of_family_rank_[family_rank];
  if (peer == UINT32_MAX || peer == options_.rank || !is_shared(options_.transport_of_peer[peer]))
    return nullptr;
  const Result<Link*> link = make_link(peer);
  return link.ok() ? *link : nullptr;
}

Result<Link*> Communicator::exchange_link_to(uint32_t peer) {
  const Family::Hold hold(to_hold(options_.transport_of_peer[peer]));
  COMITY_ASSIGN_OR_RETURN(Link * link, make_link(peer));
  COMITY_RETURN_IF_ERROR(link->open_exchange());
  exchange_transports_ |= transport_bit(peer);
  return link;
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
  if (has_output_blocks(call.collective)) return input == output + options_.rank * block_bytes;
  if (has_input_blocks(call.collective)) return output == input + options_.rank * block_bytes;
  return input == output;
}

Result<const Binding*> Communicator::binding_for(const Call& call, Partials partials, uint64_t block_bytes,
                                                 bool in_place, Device& device) {
  const uint32_t picked = options_.plans->pick(call.collective, partials, block_bytes);
  const uint64_t key = uint64_t{picked} << 40 | uint64_t{call.root} << 8 | uint64_t{call.scalar.used} << 7 |
                       uint64_t{static_cast<uint8_t>(call.collective)} << 2 |
                       (device.host_addressable() ? 0u : 2u) | (in_place ? 1u : 0u);
  const uint32_t slot =
      picked * 8 + static_cast<uint32_t>(call.collective) + call.root * 5 + (in_place ? 32 : 0);
  if (const Binding* found = bindings_.find(key, slot)) {
    if (found->on_device && scratch_device_ != &device)
      COMITY_RETURN_IF_ERROR(provide_memory(*found, device));
    return found;
  }
  COMITY_ASSIGN_OR_RETURN(PlannedPart planned,
                          options_.plans->generate(plan_of(call.collective), picked, call.root));
  planned.scaled = call.scalar.used;
  planned.compares_lengths = is_varying(call.collective) && !plan::all_lengths_are_given(call.collective);
  planned.in_fp32 = planned.in_fp32 || planned.scaled;
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
  uint64_t scratch = binding.shape.window * binding.scratch_bytes;
  COMITY_RETURN_IF_ERROR(provide_bounce(binding.shape.window * binding.bounce_bytes));
  if (!binding.on_device) {
    return provide(host_scratch_, scratch, "scratch");
  }
  if (scratch <= device_scratch_bytes_ && scratch_device_ == &device) return {};
  scratch = std::max(scratch, device_scratch_bytes_);  // on another device too: what was bound before fits
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

Status Communicator::start(const Call& call) {
  if (!error_.ok()) return error_;
  if (in_flight_) return Status(Code::kInvalidUsage, "a collective is in flight on this communicator");
  if (call.collective >= Collective::kAllGatherV || call.scalar.used) [[unlikely]]
    return call.collective == Collective::kExchange ? start_exchange(call) : start_uncommon(call);
  const bool barrier = call.collective == Collective::kBarrier;
  const uint64_t block_bytes = barrier ? plan::kBarrierBytes : call.count * size_of(call.type);
  control::CallRecord record{++number_, 0, call.count, call.root, call.collective, call.type, call.op};
  alone_ = nullptr;
  binding_ = nullptr;
  saw_mismatch_ = false;
  if (block_bytes == 0) {
    record.signature = control::signature_of(record, 0);
    announce(record);
    return {};
  }
  const Placement placement = placement_of(call, block_bytes);
  if (placement.input != nullptr) [[unlikely]] {
    --number_;  // it has not begun
    return stage(call, placement, block_bytes);
  }
  Device& device = *placement.device;
  const bool placed = in_place(call, block_bytes);
  Partials partials = partials_of(call.type, call.op);
  if (partials != Partials::kExact && !is_reduction(call.collective)) partials = Partials::kExact;
  Result<const Binding*> binding = binding_for(call, partials, block_bytes, placed, device);
  if (!binding.ok()) {
    fail(binding.status());
    return error_;
  }
  record.signature = control::signature_of(record, (*binding)->plan_hash);
  const uint64_t announced = announce(record);
  in_flight_ = true;
  binding_ = *binding;
  if (binding_->group_alone && block_bytes <= kMaxGroupTile) {
    alone_call_.signature = group_signature(announced, 0, binding_->groups[0].order);
    start_group_alone(*binding_, call, block_bytes);
    return {};
  }
  if ((binding_->transports & registering_) != 0) [[unlikely]]
    begin_memory(call, block_bytes);
  Arguments arguments = arguments_of(call, block_bytes, announced, device);
  if (binding_->in_fp32) [[unlikely]] {
    use_images(call, device, arguments);
  }
  executor_.begin(*binding_, arguments);
  return {};
}

// So calls that differed and met nobody are told by the next that meets, whatever links it has.
uint64_t Communicator::announce(const control::CallRecord& record) {
  if (options_.calls != nullptr) options_.calls->record(record);
  const uint64_t announced = record.signature ^ history_;
  history_ = mix(announced);
  return announced;
}

Arguments Communicator::arguments_of(const Call& call, uint64_t block_bytes, uint64_t signature,
                                     Device& device) const {
  Arguments arguments;
  arguments.type = call.type;
  arguments.op = call.op == RedOp::kAvg ? RedOp::kSum : call.op;
  arguments.block_bytes = block_bytes;
  arguments.signature = signature;
  arguments.divisor = call.op == RedOp::kAvg ? options_.nranks : 0;
  arguments.input = static_cast<std::byte*>(const_cast<void*>(call.input));
  arguments.output = static_cast<std::byte*>(call.output);
  arguments.device = &device;
  arguments.scratch = binding_->on_device ? device_scratch_ : host_scratch_.data();
  arguments.bounce = bounce_.data();
  return arguments;
}

// The plan works on images in host memory, and on nothing of the caller's.
void Communicator::use_images(const Call& call, Device& device, Arguments& arguments) {
  images_ = ImageSource{call.type, call.count,           arguments.input, arguments.output,
                        &device,   host_scratch_.data(), bounce_.data()};
  images_.image_type = image_type_of(call);
  arguments.type = images_.image_type;
  arguments.block_bytes = call.count * size_of(images_.image_type);
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

// A device says what failed, and not whose it is.
Status Communicator::error_in_flight() const {
  const Status& error = exchanges()         ? exchange_->error()
                        : alone_ != nullptr ? alone_->error()
                                            : executor_.error();
  return error.code() == Code::kUnhandledDeviceError ? error.in(fmt::format("rank {}", options_.rank))
                                                     : error;
}

Progress Communicator::poll() {
  if (!in_flight_) return poll_idle();
  if (alone_ == nullptr) {
    Family* const family = to_hold();
    const Family::Hold hold(family);
    const Progress progress = advance();
    if (family != nullptr && progress != Progress::kBusy) [[unlikely]]
      family->stir(*this);
    return progress;
  }
  const Progress progress = alone_->poll();
  if (is_unfinished(progress)) return progress;
  if (progress != Progress::kDone) return trouble(progress);
  in_flight_ = false;
  return progress;
}

// What the executor or the exchange does, and transports beside it.
Progress Communicator::advance() {
  const Progress progress = binding_ != nullptr ? executor_.poll() : poll_exchange();
  if (is_unfinished(progress)) {
    for (size_t i = 0; i < options_.transports.size(); ++i) {
      if ((transports_in_use() >> i & 1u) == 0) continue;
      if (Status status = options_.transports[i]->progress(); !status.ok()) return give_up(std::move(status));
    }
    return progress;
  }
  if (progress != Progress::kDone) return trouble(progress);
  if (registering_ != 0) [[unlikely]]
    end_memory();
  in_flight_ = false;
  return progress;
}

// The call in flight failed, or another rank announced another one.
Progress Communicator::trouble(Progress progress) {
  if (progress == Progress::kFailed) return give_up(error_in_flight());
  if (Status status = difference_of_lengths(); !status.ok()) return give_up(std::move(status));
  if (options_.oversight == nullptr) {
    return give_up(Status(Code::kInvalidUsage,
                          fmt::format("another rank's collective {} has another signature", number_)));
  }
  if (!saw_mismatch_) report_mismatch();
  saw_mismatch_ = true;
  return Progress::kBusy;
}

// The calls that differ may lie before this one: a rank that only gave has left its call long ago, and was up
// to 64 calls ahead of others, which were told that it differs up to 64 calls later.
void Communicator::report_mismatch() {
  constexpr uint64_t kLookBack = 2 * 64 + 16;
  const uint64_t first = number_ > kLookBack ? number_ - kLookBack : 1;
  for (uint64_t number = first; number <= number_; ++number) options_.oversight->report(number);
}

// What the control plane decides explains more than the broken connection that follows from it, and is the
// same on all ranks: unless this rank was aborted, the call ends when that is known.
Progress Communicator::fail(Status status) {
  const Family::Hold hold(in_flight_ && alone_ == nullptr ? to_hold() : nullptr);
  return give_up(std::move(status));
}

Progress Communicator::give_up(Status status) {
  if (in_flight_ && alone_ == nullptr) {
    if (Family* family = to_hold()) family->stir(*this);  // its part of the connections is others' now
  }
  if (exchanges())
    exchange_->abandon();
  else if (in_flight_ && alone_ == nullptr)
    executor_.abandon();
  if (registering_ != 0) end_memory();
  if ((in_flight_ || waits_for_others()) && !options_.devices->only_host()) [[unlikely]]
    begin_to_drain();
  in_flight_ = false;
  if (prologue_ != nullptr) prologue_->give_up();
  if (!error_.ok()) return poll_idle();
  undecided_ = std::move(status);
  const bool asks = options_.oversight != nullptr && !aborted();
  if (asks && !options_.oversight->condemned()) options_.oversight->declare(undecided_);
  if (!asks) settle();
  return poll_idle();
}

Progress Communicator::poll_idle() {
  if (waits_for_others()) return poll_prologue();
  if (!draining_.empty() && drains()) return Progress::kBusy;
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

void Communicator::arm(Sleeper& sleeper) {
  shared_sleep_ = to_hold();
  const Family::Hold hold(shared_sleep_);
  armed_ = transports_in_use();
  if (shared_sleep_ != nullptr) shared_sleep_->follow(*this, sleeper);
  for (uint32_t left = armed_; left != 0; left &= left - 1)
    options_.transports[static_cast<size_t>(std::countr_zero(left))]->arm(sleeper);
  if (awaits_device()) sleeper.at_most(kDeviceNs);
}

void Communicator::disarm(Sleeper& sleeper) {
  const Family::Hold hold(shared_sleep_);
  for (; armed_ != 0; armed_ &= armed_ - 1)
    options_.transports[static_cast<size_t>(std::countr_zero(armed_))]->disarm(sleeper);
  if (shared_sleep_ != nullptr) shared_sleep_->unfollow(*this, sleeper);
  shared_sleep_ = nullptr;
}

bool Communicator::awaits_device() const {
  if (waits_for_others() || !draining_.empty()) return true;
  if (exchanges()) return exchange_->awaits_device();
  return in_flight_ && alone_ == nullptr && executor_.awaits_device();
}

void Communicator::abort() {
  aborted_.store(true, std::memory_order_release);
  wake_everyone();
}

Status Communicator::run(const Call& call) {
  return Driver::run(*this, call);
}

}  // namespace comity::engine
