#include "src/api/group.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "src/api/errors.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/engine/driver.h"

namespace comity::api {
namespace {

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

// The calls of one communicator, carried out in order until one fails. The handle is let go with the last:
// whoever aborts or destroys the communicator does not wait for the rest of the group.
class Queue final : public engine::CallSource {
 public:
  explicit Queue(comityComm_t comm) : Queue(comm, std::make_unique<InCall>(comm)) {}
  comityComm_t comm() const { return comm_; }
  const InCall& in_call() const { return *in_call_; }
  void push(const Collected& collected) { waiting_.push_back(collected); }
  const Status& error() const { return error_; }
  size_t index() const { return index_; }  // in the group, of the call that failed

  const engine::Call* next() override {
    if (error_.ok() && !waiting_.empty()) error_ = error_of(comm_);
    if (!waiting_.empty()) index_ = waiting_.front().index;
    if (error_.ok() && !waiting_.empty()) return &waiting_.front().call;
    in_call_.reset();
    return nullptr;
  }
  void ended(const Status& status) override {
    error_ = status;
    waiting_.pop_front();
    if (!status.ok()) waiting_.clear();
  }

 private:
  // Entered before the engine is looked at: whoever is inside keeps it alive.
  Queue(comityComm_t comm, std::unique_ptr<InCall> in_call)
      : CallSource(in_call->ok() ? &comm->assembly->engine() : nullptr),
        comm_(comm),
        in_call_(std::move(in_call)) {}

  comityComm_t comm_;
  std::unique_ptr<InCall> in_call_;
  std::deque<Collected> waiting_;
  size_t index_ = 0;
  Status error_;
};

Status carry_out(const std::vector<Collected>& calls) {
  std::vector<std::unique_ptr<Queue>> queues;
  for (const Collected& collected : calls) {
    const auto found = std::find_if(queues.begin(), queues.end(),
                                    [&](const auto& queue) { return queue->comm() == collected.comm; });
    Queue* its = found == queues.end() ? queues.emplace_back(std::make_unique<Queue>(collected.comm)).get()
                                       : found->get();
    if (!its->in_call().ok()) return its->in_call().why("comityGroupEnd");
    its->push(collected);
  }
  engine::Driver driver;
  for (const auto& queue : queues) driver.add(*queue);
  driver.wait();
  const Queue* first = nullptr;
  for (const auto& queue : queues) {
    if (!queue->error().ok() && (first == nullptr || queue->index() < first->index())) first = queue.get();
  }
  return first == nullptr ? Status() : first->error().in(fmt::format("rank {}", first->comm()->rank));
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
