#include "tests/caller/reference.h"

#include <cstring>
#include <random>
#include <type_traits>

namespace comity::test {
namespace {

template <typename T>
T fold(RedOp op, T a, T b) {
  using Wrapping = std::make_unsigned_t<T>;
  const auto x = static_cast<Wrapping>(a), y = static_cast<Wrapping>(b);
  switch (op) {
    case RedOp::kProd:
      return static_cast<T>(static_cast<Wrapping>(uint64_t{x} * uint64_t{y}));
    case RedOp::kMax:
      return a < b ? b : a;
    case RedOp::kMin:
      return b < a ? b : a;
    default:
      return static_cast<T>(static_cast<Wrapping>(uint64_t{x} + uint64_t{y}));
  }
}

// One call among the members of one communicator.
class Applier {
 public:
  Applier(const Program& program, const FuzzCall& call, Memory& memory)
      : call_(call), members_(program.comms[call.comm].members), memory_(memory), before_(memory.size()) {
    for (const uint32_t rank : members_) {
      before_[rank].resize(kBuffers);
      for (const uint32_t buffer : {call.input.buffer, call.output.buffer})
        before_[rank][buffer] = memory[rank][buffer];
    }
  }

  void run() {
    if (call_.collective == Collective::kExchange) return exchange();
    switch (call_.type) {
      case DataType::kInt8:
        return run_as<int8_t>();
      case DataType::kUint8:
        return run_as<uint8_t>();
      case DataType::kInt32:
        return run_as<int32_t>();
      case DataType::kUint32:
        return run_as<uint32_t>();
      case DataType::kInt64:
        return run_as<int64_t>();
      default:
        return run_as<uint64_t>();
    }
  }

 private:
  uint32_t size() const { return static_cast<uint32_t>(members_.size()); }

  void exchange() {
    for (const Message& message : call_.messages) {
      std::memcpy(
          memory_[members_[message.to]][message.destination.buffer].data() + message.destination.offset,
          before_[members_[message.from]][message.source.buffer].data() + message.source.offset,
          message.count * size_of(message.type));
    }
  }

  // Elements from `from`'s input to `to`'s output: of a block, or of the whole.
  uint64_t length(uint32_t from, uint32_t to) const {
    switch (call_.collective) {
      case Collective::kAllGatherV:
      case Collective::kGatherV:
        return call_.counts[from];
      case Collective::kReduceScatterV:
      case Collective::kScatterV:
        return call_.counts[to];
      case Collective::kAllToAllV:
        return call_.counts[from * size() + to];
      default:
        return call_.count;
    }
  }
  const std::byte* source(uint32_t from, uint32_t to) const {
    const Place place = sides_of(call_, from).input;
    uint64_t element = 0;
    if (has_input_blocks(call_.collective)) element = block_begin(call_, size(), from, true, to);
    return before_[members_[from]][place.buffer].data() + place.offset + element * size_of(call_.type);
  }
  std::byte* target(uint32_t to, uint32_t from) {
    const Place place = sides_of(call_, to).output;
    uint64_t element = 0;
    if (has_output_blocks(call_.collective)) element = block_begin(call_, size(), to, false, from);
    return memory_[members_[to]][place.buffer].data() + place.offset + element * size_of(call_.type);
  }

  template <typename T>
  void run_as() {
    if (call_.collective == Collective::kBarrier) return;
    for (uint32_t to = 0; to < size(); ++to) {
      if (takes_to_root(call_.collective) && to != call_.root) continue;
      if (is_reduction(call_.collective)) {
        reduce<T>(to);
      } else {
        copy(to);
      }
    }
  }

  void copy(uint32_t to) {
    for (uint32_t from = 0; from < size(); ++from) {
      if (gives_from_root(call_.collective) && from != call_.root) continue;
      std::memmove(target(to, from), source(from, to), length(from, to) * size_of(call_.type));
    }
  }

  template <typename T>
  void reduce(uint32_t to) {
    const uint64_t count = length(0, to);
    for (uint64_t i = 0; i < count; ++i) {
      T folded{};
      for (uint32_t from = 0; from < size(); ++from) {
        T value;
        std::memcpy(&value, source(from, to) + i * sizeof(T), sizeof(T));
        if (call_.scaled)
          value = fold(RedOp::kProd, value, static_cast<T>(call_.scale + static_cast<int>(from)));
        folded = from == 0 ? value : fold(call_.op, folded, value);
      }
      if (call_.op == RedOp::kAvg) folded = static_cast<T>(folded / static_cast<T>(size()));
      std::memcpy(target(to, 0) + i * sizeof(T), &folded, sizeof(T));
    }
  }

  const FuzzCall& call_;
  const std::vector<uint32_t>& members_;
  Memory& memory_;
  Memory before_;  // of what the call touches
};

}  // namespace

Memory first_content(const Program& program) {
  std::mt19937_64 random(program.seed + 17);
  Memory memory(program.nranks);
  for (auto& buffers : memory) {
    buffers.resize(kBuffers);
    for (auto& buffer : buffers) {
      buffer.resize(kBufferBytes);
      for (uint64_t at = 0; at < kBufferBytes; at += 8) {
        const uint64_t word = random();
        std::memcpy(buffer.data() + at, &word, 8);
      }
    }
  }
  return memory;
}

Sides sides_of(const FuzzCall& call, uint32_t member) {
  Sides sides{call.input, call.output};
  if (!call.in_place) return sides;
  const uint64_t block = call.count * size_of(call.type);
  if (has_input_blocks(call.collective)) {
    sides.output = {sides.input.buffer, sides.input.offset + member * block};
  } else {
    sides.input = sides.output;
    if (has_output_blocks(call.collective)) sides.input.offset += member * block;
  }
  return sides;
}

void apply(const Program& program, const FuzzOp& op, Memory& memory) {
  for (const FuzzCall& call : op.calls) Applier(program, call, memory).run();
}

}  // namespace comity::test
