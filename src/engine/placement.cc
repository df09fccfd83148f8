// Where a call's buffers lie, and what happens before it starts.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "src/base/clock.h"
#include "src/engine/communicator.h"

namespace comity::engine {

namespace {

// Of a block, or with blocks of different lengths from the buffer's begin to the end of the last that is not
// empty.
uint64_t bytes_of_side(const Call& call, const BlockTable& table, uint64_t block_bytes) {
  if (!is_varying(call.collective)) return block_bytes;
  if (table.empty()) return call.count * size_of(call.type);
  uint64_t bytes = 0;
  for (size_t i = 0; i < table.lengths.size(); ++i) {
    if (table.lengths[i] != 0) bytes = std::max(bytes, table.offsets[i] + table.lengths[i]);
  }
  return bytes;
}

// For what a device still does with a call's buffers, once the call was given up.
constexpr uint64_t kDrainAbortedNs = 50'000'000;  // an abort ends calls within 100 ms
constexpr uint64_t kDrainNs = 2'000'000'000;

}  // namespace

// On the output's device, where there is one: the result needs no further copy then. The input that only a
// root has, and the output, are not looked at elsewhere.
Communicator::Placement Communicator::placement_of(const Call& call, uint64_t block_bytes) const {
  Device& host = options_.devices->host();
  if (call.collective == Collective::kBarrier || options_.devices->only_host()) return {&host, nullptr};
  const auto owner_of = [&](const void* pointer) -> Device& {
    Device& owner = options_.devices->device_of(pointer, block_bytes);
    return owner.host_addressable() ? host : owner;
  };
  const bool is_root = call.root == options_.rank;
  const bool has_input = call.input != nullptr && (is_root || !gives_from_root(call.collective)) &&
                         bytes_of_side(call, call.input_blocks, block_bytes) != 0;
  const bool has_output = call.output != nullptr && (is_root || !takes_to_root(call.collective)) &&
                          bytes_of_side(call, call.output_blocks, block_bytes) != 0;
  Device* const input = has_input ? &owner_of(call.input) : nullptr;
  Device* const output = has_output ? &owner_of(call.output) : nullptr;
  Device* const device = output != nullptr ? output : input != nullptr ? input : &host;
  return {device, input != nullptr && input != device ? input : nullptr};
}

Prologue& Communicator::prologue() {
  if (prologue_ == nullptr) prologue_ = std::make_unique<Prologue>(*options_.devices);
  return *prologue_;
}

Status Communicator::stage(const Call& call, const Placement& placement, uint64_t block_bytes) {
  uint64_t bytes = bytes_of_side(call, call.input_blocks, block_bytes);
  if (has_input_blocks(call.collective) && !is_varying(call.collective)) bytes *= options_.nranks;
  Status staged = prologue().stage(call, *placement.input, *placement.device, bytes);
  if (staged.ok()) return staged;
  fail(staged.in(fmt::format("rank {}", options_.rank)));  // the others wait for this rank
  return error_;                                           // or poll() says it, when it is decided
}

Status Communicator::start(const Call& call, std::span<const std::shared_ptr<Passage>> ahead) {
  if (ahead.empty()) return start(call);
  if (!error_.ok()) return error_;
  prologue().wait(call, ahead);
  return {};
}

Progress Communicator::poll_prologue() {
  const Result<bool> over = prologue_->poll();
  if (!over.ok()) return give_up(over.status().in(fmt::format("rank {}", options_.rank)));
  if (!*over) return Progress::kBusy;
  const Call call = prologue_->call();
  if (Status started = start(call); !started.ok()) return error_.ok() ? give_up(started) : Progress::kFailed;
  return Progress::kAdvanced;
}

void Communicator::begin_to_drain() {
  device_goes_on_ = true;
  drains_until_ns_ = now_ns() + (aborted() ? kDrainAbortedNs : kDrainNs);
  for (Device* device : options_.devices->all()) {
    for (uint32_t queue = 0; queue < device->queue_count(); ++queue) {
      if (const Token last = device->issued(queue); last != 0) draining_.push_back({device, queue, last});
    }
  }
}

// A queue that fails has nothing more to do.
bool Communicator::drains() {
  std::erase_if(draining_, [](const Draining& each) {
    const Result<bool> done = each.device->poll(each.queue, each.token);
    return !done.ok() || *done;
  });
  if (draining_.empty()) device_goes_on_ = false;
  if (now_ns() >= drains_until_ns_) draining_.clear();
  return !draining_.empty();
}

// Work on a device cannot be recalled: what it reads and writes outlives the communicator.
void Communicator::leave_memory_to_devices() {
  if (prologue_ != nullptr) prologue_->leave();
  options_.devices->keep(std::make_shared<Mapping>(std::move(host_scratch_)));
  options_.devices->keep(std::make_shared<Mapping>(std::move(bounce_)));
  options_.devices->keep(std::shared_ptr<void>(std::move(exchange_)));
  options_.devices->keep(std::shared_ptr<void>(std::move(scalar_)));
}

}  // namespace comity::engine
