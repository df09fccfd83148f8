#include "src/device/host/host_table.h"

#include <cstdio>
#include <string>

#include "src/device/host/abi_words.h"
#include "src/device/host/arena.h"
#include "src/device/host/kernels.h"

namespace comity {
namespace {

constexpr uint32_t kMaxSources = 64;
thread_local std::string last_error;

int32_t refuse(int32_t result, std::string why) {
  last_error = std::move(why);
  return result;
}

// A queue and an event have nothing to remember.
int made = 0;

int32_t nothing() {
  return COMITY_DEVICE_OK;
}

const char* error_text() {
  return last_error.c_str();
}

int32_t device_count(uint32_t* count) {
  *count = 1;
  return COMITY_DEVICE_OK;
}

int32_t properties(uint32_t device, comityDeviceProperties* properties) {
  if (device != 0) return refuse(COMITY_DEVICE_INVALID, "there is one host");
  properties->flags = COMITY_DEVICE_HOST_ADDRESSABLE | COMITY_DEVICE_CANONICAL;
  std::snprintf(properties->name, sizeof properties->name, "host, %s kernels", name_of(best_isa()).data());
  properties->queues = 1;
  properties->max_sources = kMaxSources;
  return COMITY_DEVICE_OK;
}

int32_t allocate(uint32_t, uint64_t bytes, void** pointer) {
  const Result<void*> memory = ArenaPool::instance().allocate(bytes);
  if (!memory.ok()) return refuse(COMITY_DEVICE_NO_MEMORY, std::string(memory.status().message()));
  *pointer = *memory;
  return COMITY_DEVICE_OK;
}

int32_t release(uint32_t, void* pointer) {
  const Status released = ArenaPool::instance().release(pointer);
  return released.ok() ? nothing() : refuse(COMITY_DEVICE_INVALID, std::string(released.message()));
}

int32_t find(const void* pointer, comityDevicePointer* found) {
  if (!RegionTable::instance().handle_of(pointer, 1))
    return refuse(COMITY_DEVICE_INVALID, "no memory of comityMemAlloc");
  found->device = 0;
  found->bytes = 0;
  return COMITY_DEVICE_OK;
}

int32_t queue_create(uint32_t, comityDeviceQueue_t* queue) {
  *queue = reinterpret_cast<comityDeviceQueue_t>(&made);
  return COMITY_DEVICE_OK;
}
int32_t queue_destroy(comityDeviceQueue_t) {
  return COMITY_DEVICE_OK;
}

int32_t copy(comityDeviceQueue_t, void* to, const void* from, uint64_t bytes, uint32_t) {
  copy_host(to, from, bytes, false);
  return COMITY_DEVICE_OK;
}

int32_t reduce(comityDeviceQueue_t, const comityDeviceReduction* reduction) {
  if (reduction->source_count > kMaxSources) return refuse(COMITY_DEVICE_INVALID, "too many sources");
  const AbiReduction its(*reduction);
  const ReduceWork work = its.work();
  if (its.accumulates() && is_narrow_float(work.type))
    return refuse(COMITY_DEVICE_UNSUPPORTED, "it takes all sources at once");
  reduce_host(work);
  return COMITY_DEVICE_OK;
}

int32_t event_create(uint32_t, comityDeviceEvent_t* event) {
  *event = reinterpret_cast<comityDeviceEvent_t>(&made);
  return COMITY_DEVICE_OK;
}
int32_t event_destroy(comityDeviceEvent_t) {
  return COMITY_DEVICE_OK;
}
int32_t event_record(comityDeviceQueue_t, comityDeviceEvent_t) {
  return COMITY_DEVICE_OK;
}
int32_t event_query(comityDeviceEvent_t) {
  return COMITY_DEVICE_OK;
}
int32_t queue_wait(comityDeviceQueue_t, comityDeviceEvent_t) {
  return COMITY_DEVICE_OK;
}

comityDeviceTable make_table() {
  comityDeviceTable table{};
  table.size = sizeof table;
  table.abi = COMITY_DEVICE_ABI;
  table.name = "host";
  table.start = nothing;
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
  table.queue_wait = queue_wait;
  return table;
}

}  // namespace

const comityDeviceTable& host_table() {
  static const comityDeviceTable table = make_table();
  return table;
}

}  // namespace comity
