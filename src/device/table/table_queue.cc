#include "src/device/table/table_queue.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/base/clock.h"

namespace comity {
namespace {

constexpr uint64_t kUnwatchedNs = 500'000'000;  // between two polls
constexpr size_t kMostFlaggedSources = 64;      // bits of comityDeviceReduction::divided

uint64_t accumulator_bytes(DataType type) {
  return is_narrow_float(type) ? sizeof(float) : size_of(type);
}

// Bit k: source k was divided before.
uint64_t flags_of(std::span<const uint8_t> divided) {
  uint64_t bits = 0;
  for (size_t k = 0; k < divided.size(); ++k) bits |= uint64_t{divided[k] != 0} << k;
  return bits;
}

}  // namespace

Result<std::unique_ptr<TableQueue>> TableQueue::create(const Context& context) {
  comityDeviceQueue_t queue = nullptr;
  COMITY_RETURN_IF_ERROR(
      context.runtime.status(context.runtime.table().queue_create(context.device, &queue), "queue_create"));
  return std::unique_ptr<TableQueue>(new TableQueue(context, queue));
}

TableQueue::TableQueue(const Context& context, comityDeviceQueue_t queue)
    : context_(context), queue_(queue), staging_(context.runtime) {}

TableQueue::~TableQueue() {
  if (!context_.runtime.usable().ok()) {
    staging_.leave();
    return;
  }
  if (!marked_.empty() || on_host_ != nullptr) staging_.leave();  // work that nobody waits for still uses it
  for (const Marked& each : marked_) idle_.push_back(each.event);
  for (comityDeviceEvent_t event : idle_) static_cast<void>(table().event_destroy(event));
  static_cast<void>(table().queue_destroy(queue_));
  if (!marked_.empty()) return;
  if (accumulators_ != nullptr) static_cast<void>(table().release(context_.device, accumulators_));
  for (const Outgrown& each : outgrown_) static_cast<void>(table().release(context_.device, each.memory));
}

Status TableQueue::fail(int32_t result, const char* function) {
  if (result == COMITY_DEVICE_OK) return {};
  const Status status =
      context_.runtime.status(result, fmt::format("device {}: {}", context_.device, function));
  if (result == COMITY_DEVICE_FAILED && error_.ok()) error_ = status;
  return status;
}

// --- issue -------------------------------------------------------------------------------------------------

Result<Token> TableQueue::copy(void* to, const void* from, uint64_t bytes, uint32_t way) {
  const std::lock_guard lock(mutex_);
  if (!error_.ok()) return error_;
  if (held_.empty()) {
    if (bytes != 0) COMITY_RETURN_IF_ERROR(issue_copy(to, from, bytes, way));
    COMITY_RETURN_IF_ERROR(mark(issued_ + 1));
  } else {
    Held& held = held_.emplace_back();
    held.token = issued_ + 1;
    held.copies = true;
    held.to = to;
    held.from = from;
    held.bytes = bytes;
    held.way = way;
  }
  return ++issued_;
}

Result<Token> TableQueue::reduce(const ReduceWork& work) {
  if (work.sources.empty() || work.destinations.empty())
    return Status(Code::kInvalidArgument, "a reduction needs a source and a destination");
  const std::lock_guard lock(mutex_);
  if (!error_.ok()) return error_;
  if (held_.empty()) {
    bool there = work.count == 0;
    if (!there) {
      COMITY_ASSIGN_OR_RETURN(there, issue_reduction(work));
    }
    if (there) {
      COMITY_RETURN_IF_ERROR(mark(issued_ + 1));
      return ++issued_;
    }
  }
  Held& held = held_.emplace_back();
  held.token = ++issued_;
  held.reduction = OwnedReduction(work);
  if (error_ = advance_held(); !error_.ok()) return error_;
  return issued_;
}

Status TableQueue::issue_copy(void* to, const void* from, uint64_t bytes, uint32_t way) {
  return fail(table().copy(queue_, to, from, bytes, way), "copy");
}

bool TableQueue::may_reduce(const ReduceWork& work) const {
  return table().reduce != nullptr && (context_.properties.flags & COMITY_DEVICE_CANONICAL) != 0 &&
         context_.properties.max_sources >= 2 && work.divided.size() <= kMostFlaggedSources &&
         !refused_[static_cast<size_t>(work.type)][static_cast<size_t>(work.op) % COMITY_DEVICE_OPS];
}

Result<bool> TableQueue::issue_one(const comityDeviceReduction& reduction) {
  const int32_t result = table().reduce(queue_, &reduction);
  if (result == COMITY_DEVICE_UNSUPPORTED) {
    refused_[reduction.type][reduction.op] = true;
    return false;
  }
  COMITY_RETURN_IF_ERROR(fail(result, "reduce"));
  return true;
}

Result<bool> TableQueue::issue_reduction(const ReduceWork& work) {
  if (!may_reduce(work)) return false;
  bool done = false;
  COMITY_ASSIGN_OR_RETURN(done, issue_chain(work));
  if (!done) return false;
  const uint64_t bytes = work.count * size_of(work.type);
  for (std::byte* other : work.destinations.subspan(1)) {
    if (other == work.destinations[0]) continue;
    COMITY_RETURN_IF_ERROR(issue_copy(other, work.destinations[0], bytes, COMITY_DEVICE_COPY_WITHIN));
  }
  return true;
}

//   sources 0 .. m-1 -> accumulators; accumulators, m .. 2m-2 -> accumulators; ...; the last -> destination
Result<bool> TableQueue::issue_chain(const ReduceWork& work) {
  const size_t most = context_.properties.max_sources;
  const bool chained = work.sources.size() > most;
  if (chained) COMITY_RETURN_IF_ERROR(provide_accumulators(work.count * accumulator_bytes(work.type)));
  const bool divides_sources = !work.divided.empty() && work.divisor != 0;
  std::vector<const void*> sources;
  uint64_t flags = divides_sources ? flags_of(work.divided) : 0;
  for (size_t next = 0; next < work.sources.size();) {
    comityDeviceReduction part{};
    part.size = sizeof part;
    part.type = static_cast<uint32_t>(work.type);
    part.op = static_cast<uint32_t>(work.op) % COMITY_DEVICE_OPS;  // an average is a sum
    part.count = work.count;
    sources.clear();
    if (next != 0) {
      sources.push_back(accumulators_);
      part.flags |= COMITY_DEVICE_FIRST_IS_ACCUMULATOR;
      part.divided = 1;
    }
    const size_t taken = std::min(most - sources.size(), work.sources.size() - next);
    part.divided |= flags << sources.size();
    for (size_t k = 0; k < taken; ++k) sources.push_back(work.sources[next + k]);
    next += taken;
    flags = taken < kMostFlaggedSources ? flags >> taken : 0;
    const bool last = next == work.sources.size();
    part.flags |= last ? 0u : uint32_t{COMITY_DEVICE_INTO_ACCUMULATOR};
    part.flags |= divides_sources ? uint32_t{COMITY_DEVICE_DIVIDES_SOURCES} : 0u;
    part.divisor = divides_sources || last ? work.divisor : 0;
    part.destination = last ? work.destinations[0] : accumulators_;
    part.sources = sources.data();
    part.source_count = static_cast<uint32_t>(sources.size());
    COMITY_ASSIGN_OR_RETURN(const bool issued, issue_one(part));
    if (!issued) return false;
  }
  return true;
}

// Grows; what queued work still uses goes when that is done.
Status TableQueue::provide_accumulators(uint64_t bytes) {
  if (bytes <= accumulators_bytes_) return {};
  void* memory = nullptr;
  COMITY_RETURN_IF_ERROR(fail(table().allocate(context_.device, bytes, &memory), "allocate"));
  if (accumulators_ != nullptr) outgrown_.push_back({issued_, accumulators_});
  accumulators_ = memory;
  accumulators_bytes_ = bytes;
  return {};
}

Result<comityDeviceEvent_t> TableQueue::idle_event() {
  comityDeviceEvent_t event = nullptr;
  if (idle_.empty()) {
    COMITY_RETURN_IF_ERROR(fail(table().event_create(context_.device, &event), "event_create"));
    return event;
  }
  event = idle_.back();
  idle_.pop_back();
  return event;
}

Status TableQueue::mark(Token token) {
  COMITY_ASSIGN_OR_RETURN(comityDeviceEvent_t event, idle_event());
  if (Status recorded = fail(table().event_record(queue_, event), "event_record"); !recorded.ok()) {
    idle_.push_back(event);
    return recorded;
  }
  if (marked_.empty() && on_host_ == nullptr) moved_ns_ = now_ns();
  marked_.push_back({token, event});
  return {};
}

// --- behind a reduction on the host ------------------------------------------------------------------------

Status TableQueue::advance_held() {
  while (!held_.empty()) {
    Held& held = held_.front();
    bool issued = held.copies || held.reduction.work.count == 0;
    if (held.copies && held.bytes != 0) {
      COMITY_RETURN_IF_ERROR(issue_copy(held.to, held.from, held.bytes, held.way));
    } else if (!issued && on_host_ == nullptr) {
      COMITY_ASSIGN_OR_RETURN(issued, issue_reduction(held.reduction.view()));
    }
    if (!issued) {
      COMITY_ASSIGN_OR_RETURN(issued, reduce_on_host(held.reduction));
      if (!issued) return {};
    }
    COMITY_RETURN_IF_ERROR(mark(held.token));
    held_.pop_front();
  }
  return {};
}

// True: its last copy is on the queue.
Result<bool> TableQueue::reduce_on_host(const OwnedReduction& reduction) {
  if (on_host_ == nullptr) {
    const uint64_t bytes = HostReduction::bytes_for(reduction);
    if (bytes > staging_.bytes() && !marked_.empty()) return false;  // what is smaller may be in use
    COMITY_ASSIGN_OR_RETURN(std::byte * staging, staging_.provide(bytes));
    std::array<comityDeviceEvent_t, 4> events{};
    for (comityDeviceEvent_t& event : events) {
      COMITY_ASSIGN_OR_RETURN(event, idle_event());
    }
    if (marked_.empty()) moved_ns_ = now_ns();
    on_host_ = std::make_unique<HostReduction>(reduction, staging, events);
  }
  const HostReduction::Queue queue{
      [this](void* to, const void* from, uint64_t bytes, uint32_t way) {
        moved_ns_ = now_ns();
        return issue_copy(to, from, bytes, way);
      },
      [this](comityDeviceEvent_t event) { return fail(table().event_record(queue_, event), "event_record"); },
      [this](comityDeviceEvent_t event) { return complete(event); }};
  COMITY_ASSIGN_OR_RETURN(const bool done, on_host_->advance(queue));
  if (!done) return false;
  for (comityDeviceEvent_t event : on_host_->events()) idle_.push_back(event);
  on_host_.reset();
  return true;
}

// --- completion --------------------------------------------------------------------------------------------

Result<bool> TableQueue::complete(comityDeviceEvent_t event) {
  const int32_t result = table().event_query(event);
  if (result == COMITY_DEVICE_PENDING) return false;
  COMITY_RETURN_IF_ERROR(fail(result, "event_query"));
  return true;
}

Status TableQueue::update() {
  while (!marked_.empty()) {
    COMITY_ASSIGN_OR_RETURN(const bool done, complete(marked_.front().event));
    if (!done) break;
    done_ = marked_.front().token;
    idle_.push_back(marked_.front().event);
    marked_.pop_front();
    moved_ns_ = now_ns();
  }
  while (!outgrown_.empty() && outgrown_.front().token <= done_) {
    static_cast<void>(table().release(context_.device, outgrown_.front().memory));
    outgrown_.erase(outgrown_.begin());
  }
  return held_.empty() ? Status() : advance_held();
}

Token TableQueue::issued() const {
  const std::lock_guard lock(mutex_);
  return issued_;
}

// Time in which nobody asked says nothing of the device.
Status TableQueue::watch() {
  const bool pending = !marked_.empty() || on_host_ != nullptr;
  const uint64_t now = now_ns();
  if (now - std::exchange(polled_ns_, now) > kUnwatchedNs) moved_ns_ = now;
  if (!pending || context_.timeout_ns == 0 || now - moved_ns_ < context_.timeout_ns) return {};
  error_ =
      Status(Code::kUnhandledDeviceError,
             fmt::format("{}: device {} ({}) hangs: for {} s nothing that is on a queue of it has ended; "
                         "look at the driver's log, or raise COMITY_DEVICE_TIMEOUT",
                         context_.runtime.name(), context_.device, context_.properties.name,
                         context_.timeout_ns / 1'000'000'000u));
  return error_;
}

Result<bool> TableQueue::poll(Token token) {
  const std::lock_guard lock(mutex_);
  if (token > issued_) {
    return Status(Code::kInvalidArgument, fmt::format("{}: device {} never gave token {}",
                                                      context_.runtime.name(), context_.device, token));
  }
  if (token <= done_) return true;
  if (!error_.ok()) return error_;
  if (Status updated = update(); !updated.ok()) {
    if (error_.ok()) error_ = updated;
    return error_;
  }
  if (token <= done_) return true;
  COMITY_RETURN_IF_ERROR(watch());
  return false;
}

}  // namespace comity
