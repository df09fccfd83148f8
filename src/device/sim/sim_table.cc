#include "src/device/sim/sim_table.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "src/device/host/abi_words.h"
#include "src/device/sim/sim_device.h"

namespace comity {
namespace {

constexpr uint32_t kDevices = 2;
constexpr uint32_t kMaxSources = 3;  // few, so that longer lists go by accumulators

std::array<std::unique_ptr<SimDevice>, kDevices> devices;
thread_local std::string last_error;

struct SimQueue {
  SimDevice* device;
  uint32_t number;
};
struct SimEvent {
  SimDevice* device = nullptr;  // null: never recorded
  uint32_t queue = 0;
  Token token = 0;
};

SimQueue& of(comityDeviceQueue_t queue) {
  return *reinterpret_cast<SimQueue*>(queue);
}
SimEvent& of(comityDeviceEvent_t event) {
  return *reinterpret_cast<SimEvent*>(event);
}

int32_t answer(const Status& status) {
  if (status.ok()) return COMITY_DEVICE_OK;
  last_error = status.message();
  return device_result(status.code());
}

int32_t no_device() {
  last_error = "there is no such device";
  return COMITY_DEVICE_INVALID;
}

int32_t start() {
  for (uint32_t device = 0; device < kDevices; ++device) {
    if (devices[device] != nullptr) continue;
    SimDevice::Options options;
    options.seed = 1 + device;
    auto made = SimDevice::create(options);
    if (!made.ok()) return answer(made.status());
    devices[device] = std::move(made).value();
  }
  return COMITY_DEVICE_OK;
}

void stop() {
  for (auto& device : devices) device.reset();
}

const char* error_text() {
  return last_error.c_str();
}

int32_t device_count(uint32_t* count) {
  *count = kDevices;
  return COMITY_DEVICE_OK;
}

int32_t properties(uint32_t device, comityDeviceProperties* properties) {
  if (device >= kDevices) return no_device();
  properties->flags = COMITY_DEVICE_CANONICAL;
  std::snprintf(properties->name, sizeof properties->name, "simulated device %u", device);
  std::snprintf(properties->driver, sizeof properties->driver, "1");
  properties->memory_bytes = SimDevice::Options().memory_bytes;
  properties->compute_units = 1;
  properties->queues = SimDevice::kQueues;
  properties->max_sources = kMaxSources;
  return COMITY_DEVICE_OK;
}

int32_t allocate(uint32_t device, uint64_t bytes, void** pointer) {
  if (device >= kDevices) return no_device();
  auto memory = devices[device]->allocate(bytes);
  if (!memory.ok()) return answer(memory.status());
  *pointer = *memory;
  return COMITY_DEVICE_OK;
}

int32_t release(uint32_t device, void* pointer) {
  return device < kDevices ? answer(devices[device]->release(pointer)) : no_device();
}

int32_t find(const void* pointer, comityDevicePointer* found) {
  for (uint32_t device = 0; device < kDevices; ++device) {
    if (devices[device] == nullptr || !devices[device]->owns(pointer, 0)) continue;
    found->device = device;
    found->bytes = 0;
    return COMITY_DEVICE_OK;
  }
  return COMITY_DEVICE_INVALID;
}

int32_t queue_create(uint32_t device, comityDeviceQueue_t* queue) {
  static std::atomic<uint32_t> made{0};
  if (device >= kDevices) return no_device();
  *queue =
      reinterpret_cast<comityDeviceQueue_t>(new SimQueue{devices[device].get(), made++ % SimDevice::kQueues});
  return COMITY_DEVICE_OK;
}

int32_t queue_destroy(comityDeviceQueue_t queue) {
  delete &of(queue);
  return COMITY_DEVICE_OK;
}

int32_t copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t) {
  return answer(of(queue).device->copy(of(queue).number, to, from, bytes).status());
}

// Sums of fp32 accumulators are what it does not have, so that there is something that it refuses.
int32_t reduce(comityDeviceQueue_t queue, const comityDeviceReduction* reduction) {
  if (reduction->source_count > kMaxSources) {
    last_error = "the simulated device takes fewer sources at once";
    return COMITY_DEVICE_INVALID;
  }
  const AbiReduction its(*reduction);
  const ReduceWork work = its.work();
  if (its.accumulates() && is_narrow_float(work.type)) {
    last_error = "the simulated device has no accumulators of narrow floats";
    return COMITY_DEVICE_UNSUPPORTED;
  }
  return answer(of(queue).device->reduce(of(queue).number, work).status());
}

int32_t event_create(uint32_t, comityDeviceEvent_t* event) {
  *event = reinterpret_cast<comityDeviceEvent_t>(new SimEvent());
  return COMITY_DEVICE_OK;
}

int32_t event_destroy(comityDeviceEvent_t event) {
  delete &of(event);
  return COMITY_DEVICE_OK;
}

int32_t event_record(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  of(event) = {of(queue).device, of(queue).number, of(queue).device->issued(of(queue).number)};
  return COMITY_DEVICE_OK;
}

int32_t event_query(comityDeviceEvent_t event) {
  if (of(event).device == nullptr) return COMITY_DEVICE_OK;
  const auto done = of(event).device->poll(of(event).queue, of(event).token);
  if (!done.ok()) return answer(done.status());
  return *done ? COMITY_DEVICE_OK : COMITY_DEVICE_PENDING;
}

int32_t queue_stream(comityDeviceQueue_t queue, void** stream) {
  *stream = queue;
  return COMITY_DEVICE_OK;
}

int32_t stream_check(uint32_t device, void* stream) {
  if (device < kDevices && stream != nullptr) return COMITY_DEVICE_OK;
  last_error = "NULL is no stream of the simulated device";
  return COMITY_DEVICE_INVALID;
}

int32_t stream_record(uint32_t, void* stream, comityDeviceEvent_t event) {
  return event_record(static_cast<comityDeviceQueue_t>(stream), event);
}

int32_t stream_hold(uint32_t, void* stream, comityDeviceGate_t* gate) {
  const SimQueue& queue = of(static_cast<comityDeviceQueue_t>(stream));
  *gate = reinterpret_cast<comityDeviceGate_t>(new SimDevice::Gate(queue.device->hold(queue.number)));
  return COMITY_DEVICE_OK;
}

int32_t gate_open(comityDeviceGate_t gate) {
  const std::unique_ptr<SimDevice::Gate> its(reinterpret_cast<SimDevice::Gate*>(gate));
  (*its)->store(true);
  return COMITY_DEVICE_OK;
}

comityDeviceTable make_table() {
  comityDeviceTable table{};
  table.size = sizeof table;
  table.abi = COMITY_DEVICE_ABI;
  table.name = "sim";
  table.start = start;
  table.stop = stop;
  table.error_text = error_text;
  table.device_count = device_count;
  table.properties = properties;
  table.allocate = allocate;
  table.release = release;
  table.find = find;
  table.queue_create = queue_create;
  table.queue_destroy = queue_destroy;
  table.copy = copy;
  table.reduce = reduce;
  table.event_create = event_create;
  table.event_destroy = event_destroy;
  table.event_record = event_record;
  table.event_query = event_query;
  table.queue_stream = queue_stream;
  table.stream_check = stream_check;
  table.stream_record = stream_record;
  table.stream_hold = stream_hold;
  table.gate_open = gate_open;
  return table;
}

}  // namespace

const comityDeviceTable& sim_table() {
  static const comityDeviceTable table = make_table();
  return table;
}

}  // namespace comity
