#include "algorithms/steps.h"

#include <utility>

namespace comity::algorithms {

uint32_t Steps::add(Step step) {
  bool callers = false;
  for (const auto* runs : {&step.src, &step.dst}) {
    for (const ChunkRun& run : *runs)
      callers = callers || run.space == Space::kInput || run.space == Space::kOutput;
  }
  if (!callers) step.extent = extent_;
  steps_.push_back(std::move(step));
  return size() - 1;
}

uint32_t Steps::send(uint32_t peer, const ChunkRun& from, std::vector<After> after) {
  Step step;
  step.kind = StepKind::kSend;
  step.peer = peer;
  step.src = {from};
  step.after = std::move(after);
  return add(std::move(step));
}

uint32_t Steps::recv(uint32_t peer, const ChunkRun& into, std::vector<After> after) {
  Step step;
  step.kind = StepKind::kRecv;
  step.peer = peer;
  step.dst = {into};
  step.after = std::move(after);
  return add(std::move(step));
}

uint32_t Steps::land(uint32_t peer, const ChunkRun& like, std::vector<After> after) {
  return recv(peer, moved_to(Space::kReceived, size(), like), std::move(after));
}

uint32_t Steps::copy(const ChunkRun& from, const ChunkRun& into, std::vector<After> after) {
  Step step;
  step.kind = StepKind::kCopy;
  step.src = {from};
  step.dst = {into};
  step.after = std::move(after);
  return add(std::move(step));
}

uint32_t Steps::copy_own(const ChunkRun& from, const ChunkRun& into, const std::vector<uint32_t>& sends) {
  std::vector<After> after;
  for (uint32_t sent : sends) after.push_back(done_in_place(sent));
  return copy(from, into, std::move(after));
}

uint32_t Steps::reduce(std::vector<ChunkRun> sources, const ChunkRun& into, std::vector<After> after,
                       bool last) {
  Step step;
  step.kind = StepKind::kReduce;
  step.src = std::move(sources);
  step.dst = {into};
  step.after = std::move(after);
  step.last = last;
  return add(std::move(step));
}

uint32_t Steps::fold(const Fold& fold) {
  const uint32_t arrival = land(fold.peer, fold.into, fold.after);
  std::vector<After> after = {done(arrival)};
  after.insert(after.end(), fold.after.begin(), fold.after.end());
  after.insert(after.end(), fold.in_place.begin(), fold.in_place.end());
  std::vector<ChunkRun> sources = {marked(fold.own, fold.own_partial),
                                   marked(landed(arrival), fold.received_partial)};
  if (fold.order == Order::kReceivedFirst) std::swap(sources[0], sources[1]);
  return reduce(std::move(sources), fold.into, std::move(after), fold.last);
}

uint32_t Steps::group(uint32_t index, std::vector<ChunkRun> src, std::vector<ChunkRun> dst, Turn turn,
                      std::vector<After> after) {
  Step step;
  step.kind = StepKind::kGroup;
  step.group = index;
  step.order = turn.order;
  step.lag = turn.lag;
  step.src = std::move(src);
  step.dst = std::move(dst);
  step.after = std::move(after);
  return add(std::move(step));
}

Part empty_part(uint32_t rank, uint32_t lanes) {
  Part part;
  part.rank = rank;
  part.lanes.resize(lanes);
  return part;
}

Part lone_part(const Shape& shape) {
  Part part = empty_part(0, 1);
  if (shape.collective == Collective::kBarrier) return part;
  const auto chunks = static_cast<uint32_t>(shape.weights.size());
  Steps(part.lanes[0].steps).copy(input(0, 0, chunks), output(0, 0, chunks));
  return part;
}

}  // namespace comity::algorithms
