#include "src/api/group_launch.h"

#include <cstdint>
#include <deque>
#include <utility>

#include "src/api/stream_handle.h"
#include "src/engine/driver.h"

namespace comity::api {

// The calls of one communicator, carried out in order until one fails. The handle is let go with the last:
// whoever aborts or destroys the communicator does not wait for the rest of the group.
class Launch::Queue final : public engine::CallSource {
 public:
  explicit Queue(std::unique_ptr<InCall> in_call)
      : CallSource(&in_call->comm()->assembly->engine()), in_call_(std::move(in_call)) {}
  void push(const Collected& call, size_t index) { waiting_.push_back({&call, index}); }
  // In the group, of the call that failed.
  size_t index() const { return index_; }
  const Status& error() const { return error_; }

  const engine::Call* next() override {
    if (!waiting_.empty()) {
      index_ = waiting_.front().index;
      end_with(error_of(in_call_->comm()));
      if (error_.ok()) return &waiting_.front().call->call.call();
    }
    in_call_.reset();
    return nullptr;
  }
  void ended(const Status& status) override {
    end_with(status);
    if (!waiting_.empty()) waiting_.pop_front();
  }

 private:
  struct Waiting {
    const Collected* call;
    size_t index;
  };
  void end_with(const Status& status) {
    if (status.ok()) return;
    const Collected& failed = *waiting_.front().call;
    error_ = status.in(about(failed.comm, failed.function));
    waiting_.clear();
  }

  std::unique_ptr<InCall> in_call_;
  std::deque<Waiting> waiting_;
  size_t index_ = 0;
  Status error_;
};

// What a group has of one communicator.
struct Launch::Member {
  std::unique_ptr<InCall> in_call;
  bool enqueues = false;         // all of its calls, so that they keep their order
  std::unique_ptr<Queue> queue;  // else
};

Launch::Launch(std::vector<Collected>& calls) : calls_(calls) {}
Launch::~Launch() = default;

Status Launch::carry_out(bool* behind) {
  COMITY_RETURN_IF_ERROR(enter());
  COMITY_RETURN_IF_ERROR(enqueue());
  drive();
  if (outcome_ != nullptr) {
    const engine::Outcome outcome = dispatcher().await(*outcome_);
    take(outcome.index, outcome.error);
  }
  *behind = behind_;
  return first_error_;
}

Status Launch::enter() {
  for (Collected& one : calls_) {
    Member& member = members_[one.comm];
    if (member.in_call == nullptr) {
      member.in_call = std::make_unique<InCall>(one.comm);
      if (!member.in_call->ok()) return member.in_call->why(one.function);
      member.enqueues = !one.comm->queue->idle() || !one.comm->blocking;
    }
    member.enqueues = member.enqueues || !one.streams.empty();
    if (one.exchange.empty()) continue;
    engine::Call whole = one.call.call();
    whole.exchange = one.exchange;
    one.call = engine::KeptCall(whole);
  }
  return {};
}

Status Launch::enqueue() {
  std::vector<engine::Enqueued> launch;
  for (size_t i = 0; i < calls_.size(); ++i) {
    Collected& one = calls_[i];
    if (!members_[one.comm].enqueues) continue;
    engine::Enqueued its{
        one.comm->queue, std::move(one.call), one.function, std::move(one.streams), nullptr, i};
    if (one.waited_for && one.comm->blocking) {
      if (outcome_ == nullptr) outcome_ = std::make_shared<engine::Outcome>();
      its.outcome = outcome_;
    } else if (one.waited_for) {
      its.outcome = one.comm->behind;
      behind_ = true;
    }
    launch.push_back(std::move(its));
  }
  return launch.empty() ? Status() : dispatcher().enqueue(std::move(launch));
}

void Launch::drive() {
  engine::Driver driver;
  for (auto& [comm, member] : members_) {
    if (member.enqueues)
      member.in_call.reset();
    else
      member.queue = std::make_unique<Queue>(std::move(member.in_call));
  }
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (Queue* queue = members_[calls_[i].comm].queue.get()) queue->push(calls_[i], i);
  }
  for (auto& [comm, member] : members_) {
    if (member.queue != nullptr) driver.add(*member.queue);
  }
  driver.wait();
  for (auto& [comm, member] : members_) {
    if (member.queue != nullptr) take(member.queue->index(), member.queue->error());
  }
}

void Launch::take(size_t index, const Status& status) {
  if (status.ok() || index >= first_index_) return;
  first_index_ = index;
  first_error_ = status;
}

}  // namespace comity::api
