// Where a call's buffers lie, and what happens before it starts.
#include <algorithm>
#include <memory>
#include <utility>

#include "src/engine/communicator.h"

namespace comity::engine {

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
  const bool has_input = call.input != nullptr && (is_root || !gives_from_root(call.collective));
  const bool has_output = call.output != nullptr && (is_root || !takes_to_root(call.collective));
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
  uint64_t bytes = has_input_blocks(call.collective) ? options_.nranks * block_bytes : block_bytes;
  if (is_varying(call.collective)) {
    const BlockTable& table = call.input_blocks;
    bytes = table.empty() ? call.count * size_of(call.type) : 0;
    for (size_t i = 0; i < table.lengths.size(); ++i)
      bytes = std::max(bytes, table.offsets[i] + table.lengths[i]);
  }
  return prologue().stage(call, *placement.input, *placement.device, std::max<uint64_t>(bytes, 1));
}

Status Communicator::start(const Call& call, std::span<const std::shared_ptr<Passage>> ahead) {
  if (ahead.empty()) return start(call);
  if (!error_.ok()) return error_;
  prologue().wait(call, ahead);
  return {};
}

Progress Communicator::poll_prologue() {
  const Result<bool> over = prologue_->poll();
  if (!over.ok()) return give_up(over.status());
  if (!*over) return Progress::kBusy;
  const Call call = prologue_->call();
  if (Status started = start(call); !started.ok()) return error_.ok() ? give_up(started) : Progress::kFailed;
  return Progress::kAdvanced;
}

// Work on a device cannot be recalled: what it reads and writes outlives the communicator.
void Communicator::leave_memory_to_devices() {
  options_.devices->keep(std::make_shared<Mapping>(std::move(host_scratch_)));
  options_.devices->keep(std::make_shared<Mapping>(std::move(bounce_)));
  options_.devices->keep(std::shared_ptr<void>(std::move(exchange_)));
  options_.devices->keep(std::shared_ptr<void>(std::move(scalar_)));
}

}  // namespace comity::engine
