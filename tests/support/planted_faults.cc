#include "tests/support/planted_faults.h"

#include <algorithm>
#include <cstring>
#include <mutex>

namespace comity::test {
namespace {

comityDeviceTable base;
comityDeviceTable planted;
std::mutex mutex;
std::vector<comityDeviceQueue_t> queues;
void* first_memory = nullptr;

int32_t remember_queue(uint32_t device, comityDeviceQueue_t* queue) {
  const int32_t result = base.queue_create(device, queue);
  const std::lock_guard lock(mutex);
  if (result == COMITY_DEVICE_OK) queues.push_back(*queue);
  return result;
}

int32_t forget_queue(comityDeviceQueue_t queue) {
  {
    const std::lock_guard lock(mutex);
    std::erase(queues, queue);
  }
  return base.queue_destroy(queue);
}

// Another queue than this one, if there is one.
comityDeviceQueue_t another(comityDeviceQueue_t queue) {
  const std::lock_guard lock(mutex);
  for (comityDeviceQueue_t each : queues) {
    if (each != queue) return each;
  }
  return queue;
}

void remember_queues(comityDeviceTable& table) {
  table.queue_create = remember_queue;
  table.queue_destroy = forget_queue;
}

int32_t forgotten_event(comityDeviceQueue_t, comityDeviceEvent_t) {
  return COMITY_DEVICE_OK;
}

// Everything of some sizes is one piece of memory: operands of reductions, which no copy has overlap.
int32_t reused_buffer(uint32_t device, uint64_t bytes, void** pointer) {
  constexpr uint64_t kLeast = 10'000, kMost = 40'100;
  if (bytes < kLeast || bytes > kMost) return base.allocate(device, bytes, pointer);
  if (first_memory == nullptr) {
    const int32_t result = base.allocate(device, kMost, &first_memory);
    if (result != COMITY_DEVICE_OK) return result;
  }
  *pointer = first_memory;
  return COMITY_DEVICE_OK;
}

int32_t keep_buffer(uint32_t device, void* pointer) {
  return pointer == first_memory ? int32_t{COMITY_DEVICE_OK} : base.release(device, pointer);
}

int32_t wrong_stream(uint32_t device, void* stream, comityDeviceGate_t* gate) {
  const std::lock_guard lock(mutex);
  for (comityDeviceQueue_t each : queues) {
    void* its = nullptr;
    if (base.queue_stream(each, &its) == COMITY_DEVICE_OK && its != stream)
      return base.stream_hold(device, its, gate);
  }
  return base.stream_hold(device, stream, gate);
}

int32_t no_gate(uint32_t device, void* stream, comityDeviceGate_t* gate) {
  const int32_t result = base.stream_hold(device, stream, gate);
  if (result == COMITY_DEVICE_OK) base.gate_open(*gate);
  return result;
}

int32_t gate_is_gone(comityDeviceGate_t) {
  return COMITY_DEVICE_OK;
}

// Every other copy goes elsewhere.
int32_t wandering_copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t way) {
  static uint32_t turn = 0;
  return base.copy(way == COMITY_DEVICE_COPY_WITHIN && ++turn % 2 == 0 ? another(queue) : queue, to, from,
                   bytes, way);
}

int32_t last_byte_lost(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t way) {
  return base.copy(queue, to, from, way == COMITY_DEVICE_COPY_OUT && bytes > 64 ? bytes - 1 : bytes, way);
}

int32_t min_for_max(comityDeviceQueue_t queue, const comityDeviceReduction* reduction) {
  comityDeviceReduction other = *reduction;
  if (other.op == COMITY_DEVICE_MAX) other.op = COMITY_DEVICE_MIN;
  return base.reduce(queue, &other);
}

int32_t no_division(comityDeviceQueue_t queue, const comityDeviceReduction* reduction) {
  comityDeviceReduction other = *reduction;
  other.divisor = 0;
  return base.reduce(queue, &other);
}

int32_t releases_anything(uint32_t device, void* pointer) {
  static_cast<void>(base.release(device, pointer));
  return COMITY_DEVICE_OK;
}

int32_t claims_everything(const void* pointer, comityDevicePointer* found) {
  if (base.find(pointer, found) != COMITY_DEVICE_OK) found->device = 0;
  return COMITY_DEVICE_OK;
}

int32_t overflowing_properties(uint32_t device, comityDeviceProperties* properties) {
  const int32_t result = base.properties(device, properties);
  if (result == COMITY_DEVICE_OK) reinterpret_cast<char*>(properties)[sizeof *properties] = 0;
  return result;
}

const char* says_nothing() {
  return "";
}

}  // namespace

const std::vector<PlantedFault>& planted_faults() {
  static const std::vector<PlantedFault> faults = {
      {"ForgottenEvent", "event is complete", [](auto& table) { table.event_record = forgotten_event; }},
      {"ReusedBuffer", "canonical bits",
       [](auto& table) {
         table.allocate = reused_buffer;
         table.release = keep_buffer;
       }},
      {"WrongStream", "a gate holds",
       [](auto& table) {
         remember_queues(table);
         table.stream_hold = wrong_stream;
       }},
      {"GateThatIsOpen", "a gate holds",
       [](auto& table) {
         table.stream_hold = no_gate;
         table.gate_open = gate_is_gone;
       }},
      {"QueueWithoutOrder", "order of issue",
       [](auto& table) {
         remember_queues(table);
         table.copy = wandering_copy;
       }},
      {"LostByte", "copies in", [](auto& table) { table.copy = last_byte_lost; }},
      {"WrongOperation", "canonical bits", [](auto& table) { table.reduce = min_for_max; }},
      {"NoDivision", "canonical bits", [](auto& table) { table.reduce = no_division; }},
      {"ReleasesAnything", "memory is aligned", [](auto& table) { table.release = releases_anything; }},
      {"ClaimsEverything", "memory is aligned", [](auto& table) { table.find = claims_everything; }},
      {"OverflowingProperties", "properties are whole",
       [](auto& table) { table.properties = overflowing_properties; }},
      {"ErrorsWithoutWords", "properties are whole", [](auto& table) { table.error_text = says_nothing; }}};
  return faults;
}

const comityDeviceTable& with_fault(const comityDeviceTable& table, const PlantedFault& fault) {
  base = table;
  planted = table;
  planted.stop = nullptr;
  queues.clear();
  first_memory = nullptr;
  fault.plant(planted);
  return planted;
}

}  // namespace comity::test
