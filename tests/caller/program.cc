#include "tests/caller/program.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace comity::test {
namespace {

constexpr DataType kTypes[] = {DataType::kInt8,   DataType::kUint8, DataType::kInt32,
                               DataType::kUint32, DataType::kInt64, DataType::kUint64};
constexpr Collective kCollectives[] = {
    Collective::kAllReduce,     Collective::kReduce,     Collective::kBroadcast,      Collective::kAllGather,
    Collective::kReduceScatter, Collective::kBarrier,    Collective::kAllToAll,       Collective::kGather,
    Collective::kScatter,       Collective::kAllGatherV, Collective::kReduceScatterV, Collective::kAllToAllV,
    Collective::kGatherV,       Collective::kScatterV,   Collective::kExchange};
constexpr size_t kMostComms = 7;  // alive at once

class Maker {
 public:
  Maker(uint64_t seed, const Ingredients& ingredients) : random_(seed * 0x9E3779B97F4A7C15u + 1) {
    program_.seed = seed;
    program_.nranks = ingredients.nranks;
    FuzzComm whole;
    whole.members.resize(ingredients.nranks);
    std::iota(whole.members.begin(), whole.members.end(), 0u);
    program_.comms.push_back(whole);
    for (uint32_t buffer = 0; buffer < kBuffers; ++buffer)
      owned_[buffer / kBuffersPerQueue].push_back(buffer);
    while (program_.ops.size() < ingredients.ops) add();
  }
  Program take() { return std::move(program_); }

 private:
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  bool chance(uint32_t percent) { return below(100) < percent; }

  std::vector<uint32_t> alive() const {
    std::vector<uint32_t> found;
    for (uint32_t i = 0; i < program_.comms.size(); ++i) {
      if (program_.comms[i].alive) found.push_back(i);
    }
    return found;
  }
  uint32_t some_comm() {
    const auto comms = alive();
    return comms[below(comms.size())];
  }

  void add() {
    const uint64_t dice = below(100);
    if (dice < 60) return add_call();
    if (dice < 78) return add_group();
    if (dice < 83) return add_split();
    if (dice < 91) return add_hand_over();
    if (dice < 96) return add_synchronize();
    add_destroy();
  }

  void add_call() {
    FuzzOp op;
    const uint32_t queue = static_cast<uint32_t>(below(kQueues));
    std::vector<uint32_t> free = owned_[queue];
    op.calls.push_back(make_call(some_comm(), queue, free));
    // Outside of a group a Send waits for nobody's Recv but its own, in order: an exchange needs the group.
    if (op.calls[0].collective == Collective::kExchange) op.kind = FuzzOp::Kind::kGroup;
    program_.ops.push_back(std::move(op));
  }

  // Calls of one queue on different communicators overlap, so all have buffers of their own.
  void add_group() {
    FuzzOp op;
    op.kind = FuzzOp::Kind::kGroup;
    std::vector<uint32_t> free[kQueues];
    for (uint32_t queue = 0; queue < kQueues; ++queue) free[queue] = owned_[queue];
    std::vector<bool> exchanged(program_.comms.size(), false);
    const uint64_t calls = 1 + below(4);
    for (uint64_t i = 0; i < calls; ++i) {
      const uint32_t queue = static_cast<uint32_t>(below(kQueues));
      if (free[queue].size() < 2) continue;
      FuzzCall call = make_call(some_comm(), queue, free[queue]);
      // One exchange for a communicator: all its Sends and Recvs in the group are one.
      if (call.collective == Collective::kExchange && exchanged[call.comm]) continue;
      if (call.collective == Collective::kExchange) exchanged[call.comm] = true;
      op.calls.push_back(std::move(call));
    }
    if (!op.calls.empty()) program_.ops.push_back(std::move(op));
  }

  uint32_t take_buffer(std::vector<uint32_t>& free) {
    const size_t at = below(free.size());
    const uint32_t buffer = free[at];
    free.erase(free.begin() + static_cast<ptrdiff_t>(at));
    return buffer;
  }

  uint64_t some_count(uint64_t most) {
    switch (below(6)) {
      case 0:
        return below(3);
      case 1:
        return below(std::min<uint64_t>(most, 16) + 1);
      case 2:
        return below(std::min<uint64_t>(most, 300) + 1);
      case 3:
        return most;
      default:
        return below(most + 1);
    }
  }

  FuzzCall make_call(uint32_t comm, uint32_t queue, std::vector<uint32_t>& free) {
    FuzzCall call;
    const auto p = static_cast<uint32_t>(program_.comms[comm].members.size());
    call.comm = comm;
    call.queue = queue;
    call.collective = kCollectives[below(std::size(kCollectives))];
    call.type = kTypes[below(std::size(kTypes))];
    call.op = static_cast<RedOp>(below(kRedOpCount));
    if (is_reduction(call.collective) && chance(12)) {
      call.op = RedOp::kSum;
      call.scaled = true;
      call.scale = static_cast<int>(below(5)) - 1;
    }
    if (is_rooted(call.collective)) call.root = static_cast<uint32_t>(below(p));
    call.input.buffer = take_buffer(free);
    call.output.buffer = take_buffer(free);
    call.input.offset = below(8) * 8;
    call.output.offset = below(8) * 8;
    const uint64_t room = (kBufferBytes - 64) / size_of(call.type);
    const bool whole = !has_input_blocks(call.collective) && !has_output_blocks(call.collective);
    if (call.collective == Collective::kExchange) {
      add_messages(call, p);
    } else if (is_varying(call.collective)) {
      add_counts(call, p, room);
    } else if (call.collective != Collective::kBarrier) {
      call.count = some_count(whole ? room : room / p);
      call.in_place = planned_as(call.collective) != Collective::kAllToAll && chance(30);
    }
    return call;
  }

  void add_counts(FuzzCall& call, uint32_t p, uint64_t room) {
    call.gap = chance(50) ? 0 : below(5);
    const bool square = call.collective == Collective::kAllToAllV;
    call.counts.resize(square ? size_t{p} * p : p);
    const uint64_t most = room / p > call.gap + 1 ? room / p - call.gap - 1 : 0;
    for (uint64_t& count : call.counts) count = chance(30) ? 0 : some_count(most);
  }

  void add_messages(FuzzCall& call, uint32_t p) {
    const uint64_t messages = below(3 * p + 1);
    const uint64_t strip = kBufferBytes / (messages + 1) / 8 * 8;
    std::vector<uint64_t> received(p, 0);
    for (uint64_t i = 0; i < messages; ++i) {
      Message message;
      message.from = static_cast<uint32_t>(below(p));
      message.to = static_cast<uint32_t>(below(p));
      message.type = kTypes[below(std::size(kTypes))];
      message.count = some_count(strip / size_of(message.type));
      const uint64_t bytes = message.count * size_of(message.type);
      message.source = {call.input.buffer, below((kBufferBytes - bytes) / 8 + 1) * 8};
      message.destination = {call.output.buffer, received[message.to]};
      received[message.to] += strip;
      call.messages.push_back(message);
    }
  }

  void add_split() {
    if (alive().size() >= kMostComms) return;
    FuzzOp op;
    op.kind = FuzzOp::Kind::kSplit;
    op.comm = some_comm();
    const std::vector<uint32_t> members = program_.comms[op.comm].members;
    const uint64_t colors = 1 + below(3);
    for (size_t m = 0; m < members.size(); ++m) {
      op.colors.push_back(chance(10) ? -1 : static_cast<int>(below(colors)));
      op.keys.push_back(static_cast<int>(below(3)) - 1);
    }
    op.made.assign(members.size(), -1);
    for (uint64_t color = 0; color < colors; ++color) {
      std::vector<uint32_t> chosen;
      for (uint32_t m = 0; m < members.size(); ++m) {
        if (op.colors[m] == static_cast<int>(color)) chosen.push_back(m);
      }
      if (chosen.empty()) continue;
      std::stable_sort(chosen.begin(), chosen.end(),
                       [&](uint32_t a, uint32_t b) { return op.keys[a] < op.keys[b]; });
      FuzzComm made;
      for (const uint32_t m : chosen) {
        op.made[m] = static_cast<int>(program_.comms.size());
        made.members.push_back(members[m]);
      }
      program_.comms.push_back(std::move(made));
    }
    program_.ops.push_back(std::move(op));
  }

  void move_buffer(uint32_t from, uint32_t to) {
    if (owned_[from].size() <= 4) return;
    owned_[to].push_back(take_buffer(owned_[from]));
  }

  void add_hand_over() {
    FuzzOp op;
    op.kind = FuzzOp::Kind::kHandOver;
    op.from = 1 + static_cast<uint32_t>(below(kStreams));
    op.to = 1 + op.from % kStreams;
    move_buffer(op.from, op.to);
    program_.ops.push_back(std::move(op));
  }

  // What the stream did is done on every rank, so its buffers may go to any queue.
  void add_synchronize() {
    FuzzOp op;
    op.kind = FuzzOp::Kind::kSynchronize;
    op.from = 1 + static_cast<uint32_t>(below(kStreams));
    move_buffer(op.from, 0);
    move_buffer(0, 1 + static_cast<uint32_t>(below(kStreams)));
    program_.ops.push_back(std::move(op));
  }

  void add_destroy() {
    const auto comms = alive();
    if (comms.size() < 2) return;
    FuzzOp op;
    op.kind = FuzzOp::Kind::kDestroy;
    op.comm = comms[1 + below(comms.size() - 1)];
    program_.comms[op.comm].alive = false;
    program_.ops.push_back(std::move(op));
  }

  std::mt19937_64 random_;
  Program program_;
  std::vector<uint32_t> owned_[kQueues];
};

}  // namespace

int FuzzComm::member(uint32_t rank) const {
  const auto found = std::find(members.begin(), members.end(), rank);
  return found == members.end() ? -1 : static_cast<int>(found - members.begin());
}

Program make_program(uint64_t seed, const Ingredients& ingredients) {
  return Maker(seed, ingredients).take();
}

namespace {

// Whether nobody leaves it before all came.
bool meets(const FuzzOp& op) {
  if (op.kind != FuzzOp::Kind::kCall || op.calls[0].queue != 0) return false;
  const FuzzCall& call = op.calls[0];
  return call.collective == Collective::kBarrier ||
         (call.count > 0 &&
          (call.collective == Collective::kAllReduce || call.collective == Collective::kAllGather ||
           call.collective == Collective::kAllToAll));
}

// Whether `rank`, if it swaps the two, and another wait for each other in two communicators.
bool would_wait_in_a_ring(const Program& program, const FuzzOp& first, const FuzzOp& second, uint32_t rank) {
  if (!meets(first) || !meets(second) || first.calls[0].comm == second.calls[0].comm) return false;
  const FuzzComm& other = program.comms[second.calls[0].comm];
  if (other.member(rank) < 0) return false;
  const auto& members = program.comms[first.calls[0].comm].members;
  return std::any_of(members.begin(), members.end(),
                     [&](uint32_t member) { return member != rank && other.member(member) >= 0; });
}

}  // namespace

Mistake plant(const Program& program, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Mistake> possible;
  for (uint32_t index = 0; index < program.ops.size(); ++index) {
    const FuzzOp& op = program.ops[index];
    if (op.kind != FuzzOp::Kind::kCall) continue;
    const FuzzCall& call = op.calls[0];
    const FuzzComm& comm = program.comms[call.comm];
    if (comm.members.size() < 2) continue;
    const uint32_t rank = comm.members[random() % comm.members.size()];
    possible.push_back({Mistake::Kind::kSkip, index, rank});
    if (index + 1 < program.ops.size() && would_wait_in_a_ring(program, op, program.ops[index + 1], rank))
      possible.push_back({Mistake::Kind::kSwap, index, rank});
    if (call.collective == Collective::kBarrier || is_varying(call.collective) || call.count < 2) continue;
    possible.push_back({Mistake::Kind::kCount, index, rank});
    possible.push_back({Mistake::Kind::kType, index, rank});
    if (is_rooted(call.collective)) possible.push_back({Mistake::Kind::kRoot, index, rank});
  }
  if (possible.empty()) return {};
  return possible[random() % possible.size()];
}

uint64_t block_begin(const FuzzCall& call, uint32_t nranks, uint32_t member, bool of_input, uint32_t block) {
  uint64_t begin = 0;
  for (uint32_t b = 0; b < block; ++b) {
    uint64_t count = call.count;
    if (call.collective == Collective::kAllToAllV) {
      count = of_input ? call.counts[member * nranks + b] : call.counts[b * nranks + member];
    } else if (is_varying(call.collective)) {
      count = call.counts[b];
    }
    begin += count + call.gap;
  }
  return begin;
}

std::string describe(const FuzzCall& call) {
  return fmt::format("{} on comm {} queue {}: {} {}{} count {} root {}{}, {} messages",
                     name_of(call.collective), call.comm, call.queue, name_of(call.type), name_of(call.op),
                     call.scaled ? " scaled" : "", call.count, call.root, call.in_place ? " in place" : "",
                     call.messages.size());
}

std::string describe(const FuzzOp& op) {
  constexpr const char* kNames[] = {"call", "group", "split", "hand over", "synchronize", "destroy"};
  std::string text = kNames[static_cast<int>(op.kind)];
  if (op.kind == FuzzOp::Kind::kSplit || op.kind == FuzzOp::Kind::kDestroy)
    text += fmt::format(" comm {}", op.comm);
  for (const FuzzCall& call : op.calls) text += "; " + describe(call);
  return text;
}

std::string text_of(const Program& program) {
  std::string text;
  for (size_t i = 0; i < program.comms.size(); ++i)
    text += fmt::format("comm {}: ranks {}\n", i, fmt::join(program.comms[i].members, " "));
  for (size_t i = 0; i < program.ops.size(); ++i)
    text += fmt::format("{}: {}\n", i, describe(program.ops[i]));
  return text;
}

std::string describe(const Mistake& mistake) {
  constexpr const char* kNames[] = {"skips", "shrinks", "mistypes", "gives another root to", "swaps"};
  return fmt::format("rank {} {} op {}", mistake.rank, kNames[static_cast<int>(mistake.kind)], mistake.op);
}

}  // namespace comity::test
