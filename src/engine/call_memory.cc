// What a communicator's calls register with transports that want it.
#include <fmt/core.h>

#include <algorithm>

#include "src/engine/communicator.h"

namespace comity::engine {

void Communicator::make_call_memory() {
  memories_.resize(options_.transports.size());
  for (uint32_t i = 0; i < options_.transports.size(); ++i) {
    Transport& transport = *options_.transports[i];
    if (transport.registers_from() == 0) continue;
    registering_ |= 1u << i;
    const Family::Hold hold(is_shared(i) ? options_.family : nullptr);
    Registrations& registrations =
        is_shared(i) ? options_.family->registrations(transport)
                     : *own_registrations_.emplace_back(std::make_unique<Registrations>(transport));
    memories_[i] = std::make_unique<CallMemory>(registrations, hints_);
  }
}

void Communicator::begin_memory(const Call& call, uint64_t block_bytes) {
  const auto range_of = [&](const void* buffer, bool in_blocks) {
    const uint64_t bytes = (in_blocks ? options_.nranks : 1) * block_bytes;
    return MemoryRange{static_cast<const std::byte*>(buffer), buffer == nullptr ? 0 : bytes};
  };
  begin_memory(range_of(call.input, has_input_blocks(call.collective)),
               range_of(call.output, has_output_blocks(call.collective)));
}

void Communicator::begin_memory_varying(const Call& call) {
  const auto range_of = [&](const void* buffer, const BlockTable& table) {
    uint64_t bytes = table.empty() ? call.count * size_of(call.type) : 0;
    for (size_t i = 0; i < table.lengths.size(); ++i)
      bytes = std::max(bytes, table.offsets[i] + table.lengths[i]);
    return MemoryRange{static_cast<const std::byte*>(buffer), buffer == nullptr ? 0 : bytes};
  };
  begin_memory(range_of(call.input, call.input_blocks), range_of(call.output, call.output_blocks));
}

void Communicator::begin_memory(const MemoryRange& input, const MemoryRange& output) {
  for (const auto& memory : memories_) {
    if (memory != nullptr) memory->begin(input, output);
  }
}

void Communicator::end_memory() {
  for (const auto& memory : memories_) {
    if (memory != nullptr) memory->end();
  }
}

// Only grows.
Status Communicator::provide(Mapping& mapping, uint64_t bytes, const char* what) {
  if (bytes <= mapping.bytes() && mapping.valid()) return {};
  for (const auto& memory : memories_) {
    if (memory != nullptr) memory->forget(mapping.data());
  }
  mapping = Mapping(bytes);
  if (!mapping.valid())
    return Status(Code::kSystemError, fmt::format("no memory for {} bytes of {}", bytes, what));
  for (const auto& memory : memories_) {
    if (memory != nullptr) memory->keep({mapping.data(), mapping.bytes()});
  }
  return {};
}

}  // namespace comity::engine
