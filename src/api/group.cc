#include "src/api/group.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "src/api/errors.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/base/clock.h"

namespace comity::api {
namespace {

constexpr uint32_t kSpinRounds = 4096;  // before the processor is offered to others

struct Collected {
  comityComm_t comm;
  engine::Call call;
  size_t index;  // in the group
};

struct Group {
  int depth = 0;
  Status refused;
  std::vector<Collected> calls;
  std::vector<InitJob> inits;
};
thread_local Group group;

// The calls of one communicator, carried out in order.
struct Queue {
  explicit Queue(comityComm_t its) : comm(its), in_call(its) {}
  comityComm_t comm;
  InCall in_call;
  std::deque<Collected> waiting;
  size_t index = 0;  // of the call in flight, or that failed
  bool busy = false;
  Status error;
};

// Starts what can be started and polls once; true while anything is left to do.
bool step(Queue& queue, uint64_t now_ns) {
  engine::Communicator& engine = queue.comm->assembly->engine();
  if (!queue.busy) {
    if (queue.waiting.empty() || !queue.error.ok()) return false;
    queue.index = queue.waiting.front().index;
    queue.error = error_of(queue.comm);
    if (queue.error.ok()) queue.error = engine.start(queue.waiting.front().call);
    queue.waiting.pop_front();
    if (!queue.error.ok()) return false;
    queue.busy = true;
  }
  switch (engine.poll()) {
    case Progress::kDone:
      queue.busy = false;
      return !queue.waiting.empty();
    case Progress::kFailed:
      queue.error = engine.error();
      queue.busy = false;
      return false;
    default:
      break;
  }
  if (now_ns == 0) return true;
  queue.error = engine.attend(now_ns);
  queue.busy = queue.error.ok();
  return queue.busy;
}

Status carry_out(const std::vector<Collected>& calls) {
  std::vector<std::unique_ptr<Queue>> queues;
  for (const Collected& collected : calls) {
    Queue* its = nullptr;
    for (const auto& queue : queues) {
      if (queue->comm == collected.comm) its = queue.get();
    }
    if (its == nullptr) {
      its = queues.emplace_back(std::make_unique<Queue>(collected.comm)).get();
      if (!its->in_call.ok()) return its->in_call.why("comityGroupEnd");
    }
    its->waiting.push_back(collected);
  }
  const bool crowded = std::any_of(queues.begin(), queues.end(), [](const auto& queue) {
    return queue->comm->assembly->engine().oversubscribed();
  });
  bool left = true;
  for (uint32_t round = 1; left; ++round) {
    left = false;
    const uint64_t now = (round & 15u) == 0 ? now_ns() : 0;
    for (const auto& queue : queues) left |= step(*queue, now);
    if (left && (crowded || (now != 0 && round > kSpinRounds))) sched_yield();
  }
  const Queue* first = nullptr;
  for (const auto& queue : queues) {
    if (!queue->error.ok() && (first == nullptr || queue->index < first->index)) first = queue.get();
  }
  return first == nullptr ? Status() : first->error.in(fmt::format("rank {}", first->comm->rank));
}

}  // namespace

bool group_open() {
  return group.depth > 0;
}

Status add_to_group(comityComm_t comm, const engine::Call& call, Status checked) {
  if (checked.ok())
    group.calls.push_back({comm, call, group.calls.size()});
  else if (group.refused.ok())
    group.refused = checked;
  return checked;
}

Status add_to_group(InitJob job, Status checked) {
  if (checked.ok())
    group.inits.push_back(job);
  else if (group.refused.ok())
    group.refused = checked;
  return checked;
}

}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityGroupStart(void) {
  ++api::group.depth;
  return comitySuccess;
}

extern "C" comityResult_t comityGroupEnd(void) {
  return api::guarded("comityGroupEnd", [&]() -> comityResult_t {
    if (api::group.depth == 0)
      return api::remember({Code::kInvalidUsage, "comityGroupEnd: this thread has no group open"});
    if (--api::group.depth > 0) return comitySuccess;
    const api::Group done = std::exchange(api::group, api::Group{});
    if (!done.refused.ok()) return api::remember(done.refused.in("comityGroupEnd: nothing was carried out"));
    if (!done.inits.empty()) {
      if (Status status = api::init_ranks(done.inits); !status.ok()) return api::remember(status);
    }
    return api::remember(api::carry_out(done.calls).in("comityGroupEnd"));
  });
}
