#include "tests/caller/runner.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>

#include "src/base/clock.h"

namespace comity::test {
namespace {

// One rank's buffers, every other one in memory that other ranks reach.
class Buffers {
 public:
  explicit Buffers(const std::vector<std::vector<std::byte>>& content) {
    for (size_t i = 0; i < content.size(); ++i) {
      void* memory = nullptr;
      if (i % 2 == 0) {
        static_cast<void>(comityMemAlloc(&memory, kBufferBytes));
      } else {
        plain_.emplace_back(kBufferBytes + 64);
        const auto address = reinterpret_cast<uintptr_t>(plain_.back().data());
        memory = plain_.back().data() + (64 - address % 64) % 64;
      }
      std::memcpy(memory, content[i].data(), kBufferBytes);
      places_.push_back(static_cast<std::byte*>(memory));
    }
  }
  ~Buffers() {
    for (size_t i = 0; i < places_.size(); i += 2) static_cast<void>(comityMemFree(places_[i]));
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  std::byte* at(const Place& place) const { return places_[place.buffer] + place.offset; }

 private:
  std::vector<std::vector<std::byte>> plain_;
  std::vector<std::byte*> places_;
};

class Runner {
 public:
  Runner(const Program& program, uint32_t rank, comityComm_t whole,
         const std::vector<std::vector<std::byte>>& at_first)
      : program_(program),
        rank_(rank),
        buffers_(at_first),
        comms_(program.comms.size()),
        random_(program.seed * 31 + rank) {
    comms_[0] = whole;
    for (uint32_t i = 0; i < kStreams; ++i) {
      note(comityStreamCreate(&streams_[i + 1]), "comityStreamCreate", nullptr);
      note(comityEventCreate(&events_[i]), "comityEventCreate", nullptr);
    }
  }
  ~Runner() {
    for (uint32_t i = 0; i < kStreams; ++i) {
      static_cast<void>(comityEventDestroy(events_[i]));
      static_cast<void>(comityStreamDestroy(streams_[i + 1]));
    }
    for (auto& [op, comm] : operations_) static_cast<void>(comityRedOpDestroy(op, comm));
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  void step(const FuzzOp& op) {
    switch (op.kind) {
      case FuzzOp::Kind::kCall:
        return call(op.calls[0]);
      case FuzzOp::Kind::kGroup:
        return group(op);
      case FuzzOp::Kind::kSplit:
        return split(op);
      case FuzzOp::Kind::kHandOver:
        note(comityEventRecord(events_[op.from - 1], streams_[op.from]), "comityEventRecord", nullptr);
        note(comityStreamWaitEvent(streams_[op.to], events_[op.from - 1]), "comityStreamWaitEvent", nullptr);
        return;
      case FuzzOp::Kind::kSynchronize:
        return synchronize(op.from);
      case FuzzOp::Kind::kDestroy:
        return finish(op.comm);
    }
  }
  void call(const FuzzCall& call) {
    const int member = program_.comms[call.comm].member(rank_);
    if (member >= 0) make(call, static_cast<uint32_t>(member));
  }
  void synchronize(uint32_t stream) {
    note(comityStreamSynchronize(streams_[stream]), "synchronize", nullptr);
  }
  void finish_all() {
    for (uint32_t i = 1; i <= kStreams; ++i) synchronize(i);
    for (uint32_t i = static_cast<uint32_t>(comms_.size()); i-- > 0;) {
      if (program_.comms[i].alive) finish(i);
    }
  }
  // After an error, or at the end of a mistaken program: every communicator goes, whatever its state.
  void abort_all() {
    for (comityComm_t& comm : comms_) {
      if (comm != nullptr) static_cast<void>(comityCommAbort(comm));
      comm = nullptr;
    }
  }

  const std::string& wrong() const { return wrong_; }
  comityComm_t comm(uint32_t index) const { return comms_[index]; }
  const Buffers& buffers() const { return buffers_; }

 private:
  // What the calls of one that does not block came to.
  comityResult_t settled(comityComm_t comm) {
    const Deadline deadline = Deadline::after_ms(60'000);
    comityResult_t state = comityInProgress;
    while (state == comityInProgress && !deadline.passed()) {
      if (const comityResult_t asked = comityCommGetAsyncError(comm, &state); asked != comitySuccess)
        return asked;
      sched_yield();
    }
    return state;
  }
  void note_when_done(comityResult_t result, const std::string& what, comityComm_t comm) {
    note(result == comityInProgress ? settled(comm) : result, what, comm);
  }
  void note(comityResult_t result, const std::string& what, comityComm_t comm) {
    if (result == comitySuccess || !wrong_.empty()) return;
    wrong_ = fmt::format("{}: {}: {}", what, comityGetErrorString(result), comityGetLastError(comm));
  }

  comityRedOp_t operation(const FuzzCall& call, uint32_t member) {
    if (!call.scaled) return static_cast<comityRedOp_t>(call.op);
    int64_t scalar = call.scale + static_cast<int>(member);  // little-endian: right for every width
    comityRedOp_t made = comitySum;
    note(comityRedOpCreatePreMulSum(&made, &scalar, static_cast<comityDataType_t>(call.type),
                                    comityScalarHostImmediate, comms_[call.comm]),
         "comityRedOpCreatePreMulSum", nullptr);
    operations_.emplace_back(made, comms_[call.comm]);
    return made;
  }

  void make(const FuzzCall& call, uint32_t member) {
    const comityComm_t comm = comms_[call.comm];
    await_made(call.comm);
    const comityStream_t stream = streams_[call.queue];
    const auto type = static_cast<comityDataType_t>(call.type);
    const int root = static_cast<int>(call.root);
    const Sides sides = sides_of(call, member);
    const void* in = buffers_.at(sides.input);
    void* out = buffers_.at(sides.output);
    comityResult_t result = comitySuccess;
    switch (call.collective) {
      case Collective::kAllReduce:
        result = comityAllReduce(in, out, call.count, type, operation(call, member), comm, stream);
        break;
      case Collective::kReduce:
        result = comityReduce(in, out, call.count, type, operation(call, member), root, comm, stream);
        break;
      case Collective::kBroadcast:
        result = comityBroadcast(in, out, call.count, type, root, comm, stream);
        break;
      case Collective::kAllGather:
        result = comityAllGather(in, out, call.count, type, comm, stream);
        break;
      case Collective::kReduceScatter:
        result = comityReduceScatter(in, out, call.count, type, operation(call, member), comm, stream);
        break;
      case Collective::kBarrier:
        result = comityBarrier(comm, stream);
        break;
      case Collective::kAllToAll:
        result = comityAlltoAll(in, out, call.count, type, comm, stream);
        break;
      case Collective::kGather:
        result = comityGather(in, out, call.count, type, root, comm, stream);
        break;
      case Collective::kScatter:
        result = comityScatter(in, out, call.count, type, root, comm, stream);
        break;
      case Collective::kExchange:
        result = exchange(call, member);
        break;
      default:
        result = varying(call, member, in, out);
        break;
    }
    note_when_done(result, describe(call), comm);
  }

  // The counts and places of a member's blocks.
  struct Blocks {
    std::vector<size_t> counts, displacements;
  };
  Blocks blocks(const FuzzCall& call, uint32_t member, bool of_input) const {
    const auto p = static_cast<uint32_t>(program_.comms[call.comm].members.size());
    Blocks blocks;
    for (uint32_t b = 0; b < p; ++b) {
      uint64_t count = 0;
      if (call.collective == Collective::kAllToAllV) {
        count = of_input ? call.counts[member * p + b] : call.counts[b * p + member];
      } else {
        count = call.counts[b];
      }
      blocks.counts.push_back(count);
      blocks.displacements.push_back(block_begin(call, p, member, of_input, b));
    }
    return blocks;
  }

  comityResult_t varying(const FuzzCall& call, uint32_t member, const void* in, void* out) {
    const comityComm_t comm = comms_[call.comm];
    const comityStream_t stream = streams_[call.queue];
    const auto type = static_cast<comityDataType_t>(call.type);
    const int root = static_cast<int>(call.root);
    const bool is_root = member == call.root;
    const Blocks mine = blocks(call, member, has_input_blocks(call.collective));
    const size_t* displacements = call.gap == 0 ? nullptr : mine.displacements.data();
    switch (call.collective) {
      case Collective::kAllGatherV:
        return comityAllGatherV(in, out, mine.counts.data(), displacements, type, comm, stream);
      case Collective::kReduceScatterV:
        return comityReduceScatterV(in, out, mine.counts.data(), displacements, type, operation(call, member),
                                    comm, stream);
      case Collective::kGatherV:
        return comityGatherV(in, call.counts[member], is_root ? out : nullptr,
                             is_root ? mine.counts.data() : nullptr, is_root ? displacements : nullptr, type,
                             root, comm, stream);
      case Collective::kScatterV:
        return comityScatterV(is_root ? in : nullptr, is_root ? mine.counts.data() : nullptr,
                              is_root ? displacements : nullptr, out, call.counts[member], type, root, comm,
                              stream);
      default: {
        const Blocks received = blocks(call, member, false);
        return comityAlltoAllV(in, mine.counts.data(), displacements, out, received.counts.data(),
                               call.gap == 0 ? nullptr : received.displacements.data(), type, comm, stream);
      }
    }
  }

  // In any order that keeps that of each pair.
  comityResult_t exchange(const FuzzCall& call, uint32_t member) {
    comityResult_t first = comitySuccess;
    const auto made = [&](comityResult_t result) {
      if (first == comitySuccess) first = result;
    };
    const comityComm_t comm = comms_[call.comm];
    const bool receives_first = random_() % 2 == 0;
    for (const bool receives : {receives_first, !receives_first}) {
      for (const Message& message : call.messages) {
        const auto type = static_cast<comityDataType_t>(message.type);
        if (receives && message.to == member) {
          made(comityRecv(buffers_.at(message.destination), message.count, type,
                          static_cast<int>(message.from), comm, streams_[call.queue]));
        }
        if (!receives && message.from == member) {
          made(comitySend(buffers_.at(message.source), message.count, type, static_cast<int>(message.to),
                          comm, streams_[call.queue]));
        }
      }
    }
    return first;
  }

  // Calls of different communicators and queues in an order of this rank's own.
  void group(const FuzzOp& op) {
    std::vector<const FuzzCall*> order;
    for (const FuzzCall& call : op.calls) order.push_back(&call);
    for (size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->comm != order[i]->comm && order[i - 1]->queue != order[i]->queue &&
          random_() % 2 == 0)
        std::swap(order[i - 1], order[i]);
    }
    note(comityGroupStart(), "comityGroupStart", nullptr);
    for (const FuzzCall* one : order) call(*one);
    const comityResult_t ended = comityGroupEnd();
    if (ended != comityInProgress) return note(ended, describe(op), nullptr);
    for (const FuzzCall* one : order) {
      if (program_.comms[one->comm].member(rank_) >= 0)
        note(settled(comms_[one->comm]), describe(op), comms_[one->comm]);
    }
  }

  void split(const FuzzOp& op) {
    const int member = program_.comms[op.comm].member(rank_);
    if (member < 0) return;
    await_made(op.comm);
    const auto m = static_cast<size_t>(member);
    comityComm_t made = nullptr;
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.blocking = random_() % 3 == 0 ? 0 : 1;  // every rank as it likes
    const comityResult_t result = comityCommSplit(comms_[op.comm], op.colors[m], op.keys[m], &made, &config);
    if (result != comityInProgress) note(result, describe(op), comms_[op.comm]);
    if (op.made[m] >= 0) {
      comms_[static_cast<size_t>(op.made[m])] = made;
      unchecked_.push_back(static_cast<uint32_t>(op.made[m]));
      if (result != comityInProgress) await_made(static_cast<uint32_t>(op.made[m]));
    } else if (made != nullptr && wrong_.empty()) {
      wrong_ = "a rank without a colour got a communicator";
    }
  }
  // Before the first use of what a split made.
  void await_made(uint32_t index) {
    const auto found = std::find(unchecked_.begin(), unchecked_.end(), index);
    if (found == unchecked_.end() || !wrong_.empty()) return;
    unchecked_.erase(found);
    note(settled(comms_[index]), "split", comms_[index]);
    check_split(program_.comms[index], comms_[index]);
  }
  void check_split(const FuzzComm& wanted, comityComm_t made) {
    if (!wrong_.empty()) return;
    int count = 0, rank = 0;
    note(comityCommCount(made, &count), "comityCommCount", made);
    note(comityCommUserRank(made, &rank), "comityCommUserRank", made);
    if (count != static_cast<int>(wanted.members.size()) || rank != wanted.member(rank_))
      wrong_ = fmt::format("a split gave rank {} of {}", rank, count);
  }

  void finish(uint32_t index) {
    comityComm_t& comm = comms_[index];
    if (comm == nullptr) return;
    await_made(index);
    const auto gone = [&](const auto& operation) { return operation.second == comm; };
    operations_.erase(std::remove_if(operations_.begin(), operations_.end(), gone), operations_.end());
    note_when_done(comityCommFinalize(comm), "comityCommFinalize", comm);
    if (!wrong_.empty()) return;  // what it was told is still to be asked for
    note(comityCommDestroy(comm), "comityCommDestroy", comm);
    comm = nullptr;
  }

  const Program& program_;
  uint32_t rank_;
  Buffers buffers_;
  std::vector<comityComm_t> comms_;
  std::vector<uint32_t> unchecked_;  // made by splits, and not used yet
  comityStream_t streams_[kQueues] = {};
  comityEvent_t events_[kStreams] = {};
  std::vector<std::pair<comityRedOp_t, comityComm_t>> operations_;
  std::mt19937_64 random_;
  std::string wrong_;
};

FuzzCall mistaken(FuzzCall call, Mistake::Kind kind, uint32_t nranks) {
  if (kind == Mistake::Kind::kCount) call.count /= 2;
  if (kind == Mistake::Kind::kRoot) call.root = (call.root + 1) % nranks;
  if (kind == Mistake::Kind::kType) call.type = size_of(call.type) == 1 ? DataType::kInt32 : DataType::kInt8;
  if (kind == Mistake::Kind::kType && size_of(call.type) > 1) call.count /= 4;
  return call;
}

}  // namespace

RankOutcome run_program(const Program& program, uint32_t rank, comityComm_t whole,
                        const std::vector<std::vector<std::byte>>& at_first,
                        const std::vector<std::vector<std::byte>>& expected) {
  Runner runner(program, rank, whole, at_first);
  for (uint32_t index = 0; index < program.ops.size() && runner.wrong().empty(); ++index) {
    runner.step(program.ops[index]);
    if (!runner.wrong().empty()) {
      RankOutcome outcome{fmt::format("op {}: {}", index, runner.wrong()), ""};
      runner.abort_all();
      return outcome;
    }
  }
  runner.finish_all();
  if (!runner.wrong().empty()) {
    runner.abort_all();
    return {"at the end: " + runner.wrong(), ""};
  }
  for (uint32_t buffer = 0; buffer < kBuffers; ++buffer) {
    const std::byte* is = runner.buffers().at({buffer, 0});
    const std::byte* should = expected[buffer].data();
    if (std::memcmp(is, should, kBufferBytes) == 0) continue;
    const auto at = std::mismatch(is, is + kBufferBytes, should).first - is;
    return {fmt::format("buffer {} differs from byte {} on", buffer, at), ""};
  }
  return {};
}

RankOutcome run_mistaken(const Program& program, const Mistake& mistake, uint32_t rank, comityComm_t whole,
                         const std::vector<std::vector<std::byte>>& at_first, uint64_t deadline_ms) {
  Runner runner(program, rank, whole, at_first);
  const FuzzCall& spoilt = program.ops[mistake.op].calls[0];
  const FuzzComm& concerned = program.comms[spoilt.comm];
  for (uint32_t index = 0; index < program.ops.size() && runner.wrong().empty(); ++index) {
    if (index == mistake.op && rank == mistake.rank && mistake.kind == Mistake::Kind::kSwap) {
      runner.step(program.ops[++index]);
      if (runner.wrong().empty()) runner.step(program.ops[index - 1]);
    } else if (index == mistake.op && rank == mistake.rank) {
      if (mistake.kind != Mistake::Kind::kSkip)
        runner.call(mistaken(spoilt, mistake.kind, static_cast<uint32_t>(concerned.members.size())));
    } else {
      runner.step(program.ops[index]);
    }
  }
  if (runner.wrong().empty()) runner.finish_all();
  RankOutcome outcome;
  std::vector<uint32_t> concerned_comms = {spoilt.comm};
  if (mistake.kind == Mistake::Kind::kSwap)
    concerned_comms.push_back(program.ops[mistake.op + 1].calls[0].comm);
  for (const uint32_t index : concerned_comms) {
    if (program.comms[index].member(rank) < 0 || !outcome.wrong.empty()) continue;
    const comityComm_t comm = runner.comm(index);
    outcome.error_text = runner.wrong();
    if (comm != nullptr) {
      const Deadline deadline = Deadline::after_ms(deadline_ms);
      comityResult_t told = comitySuccess;
      while (comityCommGetAsyncError(comm, &told) == comitySuccess && told == comitySuccess &&
             !deadline.passed())
        sched_yield();
      outcome.error_text = comityGetLastError(comm);
      if (told == comitySuccess) outcome.wrong = "was told no error: " + runner.wrong();
    } else if (runner.wrong().empty()) {
      outcome.wrong = "finished without an error";
    }
  }
  runner.abort_all();
  return outcome;
}

}  // namespace comity::test
