#include "src/control/sim/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "src/control/sim/stream.h"

namespace comity::control::sim {

SimLoop::SimLoop(World& world, uint32_t process, uint64_t seed)
    : world_(world), process_(process), random_(seed) {}

void SimLoop::drop_all() {
  drop_parts();
  held_.clear();
  drop_end_tasks();
  // One after the other, as what goes with one may drop others.
  while (!timers_.empty()) const auto task = timers_.extract(timers_.begin());
  while (!watches_.empty()) unwatch(watches_.begin()->first);
}

void SimLoop::fill(void* to, size_t bytes) {
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    const uint64_t value = random_.next();
    std::memcpy(static_cast<std::byte*>(to) + at, &value, std::min(bytes - at, sizeof(value)));
  }
}

void SimLoop::turn(const Task& task) {
  if (frozen_ || dead_) return held_.push_back(task);
  const uint32_t before = world_.turn_to(process_);
  task();
  check_exit();
  world_.turn_to(before);
}

void SimLoop::check_exit() {
  if (ending() && holds_ == 0 && !world_.isolated()) world_.kill(process_);
}

bool SimLoop::post(Task task) {
  if (dead_) return false;
  append(std::move(task));
  return true;
}

// In the order in which they came.
void SimLoop::append(Task task) {
  last_post_ns_ = std::max(last_post_ns_ + 1, world_.soon_ns());
  world_.at(last_post_ns_, [this, task = std::move(task)] { turn(task); });
}

// --- Sockets ---------------------------------------------------------------------------------------------

namespace {

Watched* watched_in(Pollable& what) {
  if (auto* stream = dynamic_cast<SimStream*>(&what)) return &stream->watched();
  return dynamic_cast<Watched*>(&what);
}

}  // namespace

uint64_t SimLoop::watch(Pollable& what, uint32_t events, Callback callback) {
  const uint64_t id = next_id_++;
  Watched* watched = watched_in(what);
  watched->watch_ = id;
  Watch& watch = watches_[id];
  watch = Watch{watched, events, false, std::make_shared<Callback>(std::move(callback))};
  schedule(id, watch);
  return id;
}

void SimLoop::change(uint64_t id, uint32_t events) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  found->second.events = events;
  schedule(id, found->second);
}

void SimLoop::unwatch(uint64_t id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  found->second.what->watch_ = 0;
  const auto callback = std::move(found->second.callback);  // what it holds may call back
  watches_.erase(found);
}

void SimLoop::notify(const Watched& what) {
  const auto found = watches_.find(what.watch_);
  if (found != watches_.end()) schedule(found->first, found->second);
}

void SimLoop::schedule(uint64_t id, Watch& watch) {
  if (watch.scheduled || (watch.what->ready() & (watch.events | EPOLLERR | EPOLLHUP)) == 0) return;
  watch.scheduled = true;
  world_.at(world_.soon_ns(), [this, id] { turn([this, id] { dispatch(id); }); });
}

void SimLoop::dispatch(uint64_t id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  found->second.scheduled = false;
  const uint32_t ready = found->second.what->ready() & (found->second.events | EPOLLERR | EPOLLHUP);
  if (ready == 0) return;
  world_.note(mix(process_, ready));
  const std::shared_ptr<Callback> callback = found->second.callback;
  (*callback)(ready);
  if (const auto still = watches_.find(id); still != watches_.end()) schedule(id, still->second);
}

Result<StreamPtr> SimLoop::connect(const SocketAddress& to) {
  ++world_.traffic_of(process_).connections;
  const uint32_t before = world_.turn_to(kNetwork);
  const auto end = std::make_shared<End>(*this);
  StreamPtr stream = std::make_unique<SimStream>(end);
  end->connect(to);
  world_.turn_to(before);
  return stream;
}

// --- Time ------------------------------------------------------------------------------------------------

uint64_t SimLoop::after_ms(uint64_t ms, Task task) {
  const uint64_t id = next_id_++;
  timers_[id] = std::move(task);
  world_.at(world_.soon_ns() + ms * 1'000'000u, [this, id] { turn([this, id] { fire(id); }); });
  return id;
}

void SimLoop::cancel(uint64_t timer) {
  const auto task = timers_.extract(timer);
}

void SimLoop::fire(uint64_t timer) {
  const auto task = timers_.extract(timer);
  if (task.empty()) return;
  world_.note(mix(process_, timer));
  task.mapped()();
}

// --- Processes -------------------------------------------------------------------------------------------

ProcessName SimLoop::process() const {
  return ProcessName{world_.host_of(process_) + uint64_t{1}, process_ + 1, 1};
}

Result<std::unique_ptr<Pollable>> SimLoop::open_process(const ProcessName& process) {
  if (process.space != this->process().space)
    return Status(Code::kUnsupported, "the process lives elsewhere");
  SimLoop& other = world_.sim_loop(process.pid - 1);
  if (other.dead()) return Status(Code::kRemoteError, "the process has ended");
  return std::unique_ptr<Pollable>(std::make_unique<SimProcess>(*this, other));
}

void SimLoop::begin_to_end() {
  turn([this] {
    if (ending()) return;
    set_ending();
    run_end_tasks();
  });
}

void SimLoop::set_frozen(bool frozen) {
  frozen_ = frozen;
  while (!frozen_ && !held_.empty()) {
    append(std::move(held_.front()));
    held_.pop_front();
  }
}

void SimLoop::die(bool connections_stay) {
  if (std::exchange(dead_, true)) return;
  while (!listeners_.empty()) listeners_.begin()->second->close();
  if (!connections_stay) {
    const auto ends = ends_;
    for (const auto& [made, end] : ends) end->shared_from_this()->close();
  }
  for (const auto& [made, watching] : watchers_) watching->watcher().notify(*watching);
}

void SimLoop::revive() {
  dead_ = false;
  set_ending();
}

}  // namespace comity::control::sim
