#include "src/engine/stream_dispatcher.h"

#include <iterator>
#include <utility>

#include "src/base/text.h"

namespace comity::engine {

const Call* CallQueue::next() {
  return dispatcher_.next(*this);
}

void CallQueue::ended(const Status& status) {
  dispatcher_.ended(*this, status);
}

// --- taking on ---------------------------------------------------------------------------------------------

void StreamDispatcher::start(int cpu) {
  const std::lock_guard lock(mutex_);
  if (threads_.count(cpu) == 0) threads_.emplace(cpu, std::make_unique<ProgressThread>(cpu));
}

Status StreamDispatcher::enqueue(std::vector<Enqueued> launch) {
  for (const Enqueued& one : launch) {
    if (one.turn == nullptr) start(one.queue->cpu_);
  }
  std::vector<std::pair<std::shared_ptr<CallQueue>, CallQueue::Waiting>> calls;
  calls.reserve(launch.size());
  for (Enqueued& one : launch) {
    std::vector<CallQueue::Place> places;
    for (std::shared_ptr<Stream>& stream : one.streams) places.push_back({{std::move(stream), 0}, 0});
    const std::shared_ptr<CallQueue> queue = one.queue;
    calls.emplace_back(queue, CallQueue::Waiting{std::move(one), std::move(places), {}});
  }
  // One for each stream, whatever number of the launch's calls are on it: they do not wait for each other.
  std::map<Stream*, std::shared_ptr<Passage>> passages;
  for (auto& [queue, waiting] : calls) {
    for (const CallQueue::Place& place : waiting.places) {
      const auto [passage, is_first] = passages.try_emplace(place.mark.stream.get());
      if (is_first) {
        COMITY_ASSIGN_OR_RETURN(passage->second, place.mark.stream->pass());
      }
      if (passage->second != nullptr) waiting.ahead.push_back(passage->second);
    }
  }
  const std::lock_guard lock(mutex_);
  // All of the launch waits for what came before it, and not for each other.
  for (auto& [queue, waiting] : calls) {
    for (CallQueue::Place& place : waiting.places) place.after = place.mark.stream->enqueued();
  }
  for (auto& [queue, waiting] : calls) {
    for (CallQueue::Place& place : waiting.places)
      place.mark.number = place.mark.stream->take_place(passages[place.mark.stream.get()]);
    if (waiting.what.outcome != nullptr) ++waiting.what.outcome->left;
    queue->waiting_.push_back(std::move(waiting));
    queue->pending_.fetch_add(1, std::memory_order_relaxed);
    if (queue->waiting_.size() == 1) consider(*queue);
  }
  return {};
}

Status StreamDispatcher::hold(const std::shared_ptr<Stream>& stream, const Mark& mark) {
  if (mark.stream == nullptr || mark.stream == stream || ended(mark)) return {};
  COMITY_ASSIGN_OR_RETURN(auto passage, stream->pass());
  const std::lock_guard lock(mutex_);
  if (mark.stream->ended() < mark.number)
    mark.stream->hold(mark.number, {nullptr, {stream, stream->take_place(std::move(passage))}});
  return {};
}

// --- for progress threads ----------------------------------------------------------------------------------

// Else the stream that the first call waits for will bring the queue up again.
bool StreamDispatcher::ready(CallQueue& queue) {
  if (queue.waiting_.empty()) return false;
  for (const CallQueue::Place& place : queue.waiting_.front().places) {
    if (place.mark.stream->ended() >= place.after) continue;
    place.mark.stream->hold(place.after, {queue.shared_from_this(), {}});
    return false;
  }
  return true;
}

void StreamDispatcher::consider(CallQueue& queue) {
  if (queue.running_ || !ready(queue)) return;
  queue.running_ = true;
  if (!begin_turn(queue)) threads_.at(queue.cpu_)->add(queue);
}

// Whether it is somebody's turn, who has the queue from now on.
bool StreamDispatcher::begin_turn(CallQueue& queue) {
  Turn* const turn = queue.waiting_.front().what.turn.get();
  if (turn == nullptr) return false;
  queue.started_ = true;
  turn->come = true;
  changed_.notify_all();
  return true;
}

const Call* StreamDispatcher::next(CallQueue& queue) {
  const std::lock_guard lock(mutex_);
  if (ready(queue)) {
    if (begin_turn(queue)) return nullptr;
    queue.started_ = true;
    queue.ahead_ = queue.waiting_.front().ahead;
    return &queue.waiting_.front().what.call.call();
  }
  queue.running_ = false;
  changed_.notify_all();  // whoever drains it
  return nullptr;
}

// Whoever sees that it has ended sees its gates open.
void StreamDispatcher::ended(CallQueue& queue, const Status& status) {
  Opening opening;
  {
    const std::lock_guard lock(mutex_);
    take_passages(queue.waiting_.front(), opening);
  }
  opening.clear();
  const std::lock_guard lock(mutex_);
  queue.started_ = false;
  CallQueue::Waiting over = std::move(queue.waiting_.front());
  queue.waiting_.pop_front();
  settle(queue, over, status, opening);
}

// --- ending ------------------------------------------------------------------------------------------------

void StreamDispatcher::take_passages(CallQueue::Waiting& of, Opening& opening) {
  for (std::shared_ptr<Passage>& each : of.ahead) opening.push_back(std::move(each));
  of.ahead.clear();
  for (const CallQueue::Place& place : of.places) {
    if (auto passage = place.mark.stream->take_passage(place.mark.number))
      opening.push_back(std::move(passage));
  }
}

// A call that the queue no longer has.
void StreamDispatcher::settle(CallQueue& queue, CallQueue::Waiting& over, const Status& status,
                              Opening& opening) {
  take_passages(over, opening);
  if (!status.ok()) {
    const Status error = status.in(about_communicator(over.what.function, queue.name_));
    for (const CallQueue::Place& place : over.places) place.mark.stream->fail(error);
    Outcome* const outcome = over.what.outcome.get();
    if (outcome != nullptr && (outcome->error.ok() || over.what.index < outcome->index)) {
      outcome->index = over.what.index;
      outcome->error = error;
    }
  }
  if (Turn* const turn = over.what.turn.get()) {
    turn->over = true;
    turn->error = status;
  }
  if (over.what.outcome != nullptr) --over.what.outcome->left;
  for (const CallQueue::Place& place : over.places) end_place(place.mark, opening);
  queue.pending_.fetch_sub(1, std::memory_order_release);
  changed_.notify_all();
}

void StreamDispatcher::end_place(Mark place, Opening& opening) {
  std::vector<Mark> ending{std::move(place)};
  while (!ending.empty()) {
    const Mark one = std::move(ending.back());
    ending.pop_back();
    if (auto passage = one.stream->take_passage(one.number)) opening.push_back(std::move(passage));
    if (!one.stream->end(one.number)) continue;
    for (Stream::Waiter& waiter : one.stream->release()) {
      if (waiter.queue != nullptr)
        consider(*waiter.queue);
      else
        ending.push_back(std::move(waiter.place));
    }
  }
}

void StreamDispatcher::cancel(CallQueue& queue, const Status& error) {
  Opening opening;
  const std::lock_guard lock(mutex_);
  std::list<CallQueue::Waiting> cancelled;
  const auto first = std::next(queue.waiting_.begin(), queue.started_ ? 1 : 0);
  cancelled.splice(cancelled.begin(), queue.waiting_, first, queue.waiting_.end());
  for (CallQueue::Waiting& over : cancelled) settle(queue, over, error, opening);
}

// --- turns -------------------------------------------------------------------------------------------------

Status StreamDispatcher::await_turn(const Turn& turn) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&turn] { return turn.come || turn.over; });
  return turn.over ? turn.error : Status();
}

void StreamDispatcher::end_turn(CallQueue& queue, const Status& status) {
  Opening opening;
  const std::lock_guard lock(mutex_);
  queue.started_ = queue.running_ = false;
  CallQueue::Waiting over = std::move(queue.waiting_.front());
  queue.waiting_.pop_front();
  settle(queue, over, status, opening);
  consider(queue);
}

void StreamDispatcher::give_up_turn(Turn& turn, const Status& why) {
  const std::lock_guard lock(mutex_);
  turn.over = true;
  turn.error = why;
  changed_.notify_all();
}

// --- waiting -----------------------------------------------------------------------------------------------

void StreamDispatcher::drain(CallQueue& queue) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&queue] { return queue.waiting_.empty() && !queue.running_; });
}

Outcome StreamDispatcher::look(const Outcome& outcome) {
  const std::lock_guard lock(mutex_);
  return outcome;
}

Outcome StreamDispatcher::await(const Outcome& outcome) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&outcome] { return outcome.left == 0; });
  return outcome;
}

Mark StreamDispatcher::mark(const std::shared_ptr<Stream>& stream) {
  const std::lock_guard lock(mutex_);
  return {stream, stream->enqueued()};
}

bool StreamDispatcher::ended(const Mark& mark) {
  const std::lock_guard lock(mutex_);
  return mark.stream == nullptr || mark.stream->ended() >= mark.number;
}

void StreamDispatcher::await(const Mark& mark) {
  if (mark.stream == nullptr) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&mark] { return mark.stream->ended() >= mark.number; });
}

Status StreamDispatcher::take_error(Stream& stream) {
  const std::lock_guard lock(mutex_);
  return stream.take_error();
}

}  // namespace comity::engine
