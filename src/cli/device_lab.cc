#include "src/cli/device_lab.h"

#include <fmt/core.h>
#include <sched.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "src/base/clock.h"
#include "src/base/hash.h"

namespace comity::cli {
namespace {

constexpr uint64_t kDrainMs = 2000;  // for what a broken device has not done
std::atomic<bool> trusted{true};

}  // namespace

Broken::Broken(const std::string& what) : std::runtime_error(what) {
  DeviceLab::set_trusted(false);
}

Bytes random_bytes(uint64_t bytes, uint64_t seed) {
  SplitMix random(seed);
  Bytes content(bytes);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random.next());
  return content;
}

DeviceLab::DeviceLab(std::shared_ptr<DeviceRuntime> runtime, uint32_t device, uint64_t patience_ms)
    : runtime_(std::move(runtime)), device_(device), patience_ms_(patience_ms) {
  properties_.size = sizeof properties_;
  good(table().properties(device, &properties_), "properties");
}

// Whether nothing is on its way any more, within a while.
bool DeviceLab::is_idle() {
  const Deadline deadline = Deadline::after_ms(kDrainMs);
  for (comityDeviceQueue_t queue : queues_) {
    comityDeviceEvent_t end = nullptr;
    if (table().event_create(device_, &end) != COMITY_DEVICE_OK) return false;
    events_.push_back(end);
    if (table().event_record(queue, end) != COMITY_DEVICE_OK) return false;
    while (table().event_query(end) != COMITY_DEVICE_OK) {
      if (deadline.passed()) return false;
      sched_yield();
    }
  }
  return true;
}

void DeviceLab::set_trusted(bool its) {
  trusted = its;
}

// What the device may still use stays, in reach of leak checkers.
DeviceLab::~DeviceLab() {
  if (!trusted || !is_idle()) {
    static std::mutex mutex;
    static auto* const left = new std::list<std::unique_ptr<std::list<Bytes>>>();
    const std::lock_guard lock(mutex);
    left->push_back(std::move(kept_));
    memories_.clear();
  }
  for (comityDeviceEvent_t event : events_) static_cast<void>(table().event_destroy(event));
  for (comityDeviceQueue_t queue : queues_) static_cast<void>(table().queue_destroy(queue));
  for (void* memory : memories_) static_cast<void>(table().release(device_, memory));
}

comityDeviceQueue_t DeviceLab::queue(uint32_t index) {
  while (queues_.size() <= index) {
    comityDeviceQueue_t made = nullptr;
    good(table().queue_create(device_, &made), "queue_create");
    queues_.push_back(made);
  }
  return queues_[index];
}

comityDeviceEvent_t DeviceLab::event() {
  comityDeviceEvent_t made = nullptr;
  good(table().event_create(device_, &made), "event_create");
  events_.push_back(made);
  return made;
}

void* DeviceLab::stream(comityDeviceQueue_t queue) {
  void* stream = nullptr;
  good(table().queue_stream(queue, &stream), "queue_stream");
  return stream;
}

std::byte* DeviceLab::memory(uint64_t bytes) {
  void* made = nullptr;
  good(table().allocate(device_, bytes, &made), "allocate");
  memories_.push_back(made);
  return static_cast<std::byte*>(made);
}

Bytes& DeviceLab::keep(Bytes content) {
  return kept_->emplace_back(std::move(content));
}

std::byte* DeviceLab::memory(const Bytes& content) {
  std::byte* made = memory(content.size());
  copy(queue(0), made, keep(content).data(), content.size(), COMITY_DEVICE_COPY_IN);
  finish(queue(0));
  return made;
}

Bytes DeviceLab::content(const std::byte* memory, uint64_t bytes) {
  Bytes& content = keep(Bytes(bytes));
  copy(queue(0), content.data(), memory, bytes, COMITY_DEVICE_COPY_OUT);
  finish(queue(0));
  return content;
}

void DeviceLab::copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t way) {
  good(table().copy(queue, to, from, bytes, way), "copy");
}

void DeviceLab::record(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  good(table().event_record(queue, event), "event_record");
}

bool DeviceLab::is_complete(comityDeviceEvent_t event) {
  const int32_t result = table().event_query(event);
  if (result != COMITY_DEVICE_PENDING) good(result, "event_query");
  return result == COMITY_DEVICE_OK;
}

void DeviceLab::wait(comityDeviceEvent_t event) {
  const Deadline deadline = Deadline::after_ms(patience_ms_);
  while (!is_complete(event)) {
    if (deadline.passed())
      throw Broken(
          fmt::format("an event does not complete within {} ms, though nothing holds it up", patience_ms_));
    sched_yield();
  }
}

void DeviceLab::finish(comityDeviceQueue_t queue) {
  if (events_.empty()) event();
  record(queue, events_.front());
  wait(events_.front());
}

bool DeviceLab::reduce(comityDeviceQueue_t queue, const comityDeviceReduction& reduction) {
  const int32_t result = table().reduce(queue, &reduction);
  if (result == COMITY_DEVICE_UNSUPPORTED) return false;
  good(result, "reduce");
  return true;
}

void DeviceLab::good(int32_t result, const char* function) {
  if (const Status status = runtime_->status(result, function); !status.ok())
    throw Broken(std::string(status.message()));
}

void DeviceLab::refused(int32_t result, int32_t expected, const std::string& what) {
  if (result != expected)
    throw Broken(fmt::format("{} is answered by {}, and should be by {}", what, result, expected));
  const char* text = table().error_text();
  if (text == nullptr || *text == '\0')
    throw Broken(fmt::format("{} is refused, and error_text() says nothing", what));
}

}  // namespace comity::cli
