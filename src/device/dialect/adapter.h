// A runtime of a dialect behind the functions of a device's table.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "comity/plugin/device_abi.h"
#include "src/device/dialect/dialect.h"

namespace comity::dialect {

// Each method is the table's function of that name; one object for a dialect in a process.
class Adapter {
 public:
  explicit Adapter(const Dialect& dialect) : dialect_(dialect) {}
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;
  const Dialect& dialect() const { return dialect_; }

  int32_t start();
  int32_t device_count(uint32_t* count);
  int32_t properties(uint32_t device, comityDeviceProperties* properties);
  int32_t current_device(uint32_t* device);
  int32_t allocate(uint32_t device, uint64_t bytes, void** pointer);
  int32_t release(uint32_t device, void* pointer);
  int32_t find(const void* pointer, comityDevicePointer* found);
  int32_t allocate_host(uint64_t bytes, void** pointer);
  int32_t release_host(void* pointer);
  int32_t queue_create(uint32_t device, comityDeviceQueue_t* queue);
  int32_t queue_destroy(comityDeviceQueue_t queue);
  int32_t copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes);
  int32_t reduce(comityDeviceQueue_t queue, const comityDeviceReduction* reduction);
  int32_t event_create(uint32_t device, comityDeviceEvent_t* event);
  int32_t event_destroy(comityDeviceEvent_t event);
  int32_t event_record(comityDeviceQueue_t queue, comityDeviceEvent_t event);
  int32_t event_query(comityDeviceEvent_t event);
  int32_t queue_wait(comityDeviceQueue_t queue, comityDeviceEvent_t event);
  int32_t queue_stream(comityDeviceQueue_t queue, void** stream);
  int32_t stream_check(uint32_t device, void* stream);
  int32_t stream_record(uint32_t device, void* stream, comityDeviceEvent_t event);
  int32_t stream_hold(uint32_t device, void* stream, comityDeviceGate_t* gate);
  int32_t gate_open(comityDeviceGate_t gate);

 private:
  struct Kernels {
    void* reduce = nullptr;
    void* sum2 = nullptr;
  };
  struct Device {
    void* context = nullptr;  // of the shape that has one
    std::once_flag loading;
    bool loaded = false;
    std::array<Kernels, COMITY_DEVICE_TYPES> kernels;
  };
  struct Queue {
    uint32_t device;
    void* stream;
  };
  struct Event {
    uint32_t device;
    void* event;
  };
  // A word that a stream waits for, and an event behind the wait: when that is complete the word is free.
  struct Gate {
    uint32_t device;
    uint32_t* word;
    uint64_t address;
    void* passed;
  };
  struct Range {
    uint64_t bytes;
    uint32_t device;
  };
  class Current;  // makes a device the thread's current one for a while

  static Queue& of(comityDeviceQueue_t queue) { return *reinterpret_cast<Queue*>(queue); }
  static Event& of(comityDeviceEvent_t event) { return *reinterpret_cast<Event*>(event); }
  int32_t answer(const char* function, int error);
  int32_t refuse(int32_t result, std::string why);
  bool has(uint32_t device) const { return device < devices_.size(); }
  int copy_async(void* to, const void* from, uint64_t bytes, void* stream) const;
  int wait_for_word(void* stream, const Gate& gate) const;
  bool takes_gates() const;
  void load_kernels(Device& device);
  int32_t launch(const Queue& queue, void* kernel, uint64_t count, void** arguments);
  std::unique_ptr<Gate> free_gate(uint32_t device);
  int32_t new_gate(uint32_t device, std::unique_ptr<Gate>& gate);

  const Dialect& dialect_;
  Api api_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::shared_mutex memory_mutex_;
  std::map<uint64_t, Range> ranges_;  // of allocate(), by address
  std::mutex gates_mutex_;
  std::deque<std::unique_ptr<Gate>> opened_;  // perhaps not passed yet
};

// Why the last function of this thread failed.
const char* error_text();

}  // namespace comity::dialect
