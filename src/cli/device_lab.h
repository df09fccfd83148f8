// What checks of a device do often: memory with a known content, queues, events that are waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "src/device/table/runtime.h"

namespace comity::cli {

// What does not hold; ends a check.
class Broken : public std::runtime_error {
 public:
  explicit Broken(const std::string& what);
};

using Bytes = std::vector<std::byte>;
// The same for the same seed.
Bytes random_bytes(uint64_t bytes, uint64_t seed);

// On one device; gives all back that it made, but what the device may still use. Every method throws Broken
// with what the table answered where it should not.
class DeviceLab {
 public:
  DeviceLab(std::shared_ptr<DeviceRuntime> runtime, uint32_t device, uint64_t patience_ms);
  ~DeviceLab();
  DeviceLab(const DeviceLab&) = delete;
  DeviceLab& operator=(const DeviceLab&) = delete;

  const std::shared_ptr<DeviceRuntime>& runtime() const { return runtime_; }
  uint64_t patience_ms() const { return patience_ms_; }
  // For how long a check watches that nothing happens.
  uint64_t held_ms = 50;
  const comityDeviceTable& table() const { return runtime_->table(); }
  uint32_t device() const { return device_; }
  const comityDeviceProperties& properties() const { return properties_; }
  comityDeviceQueue_t queue(uint32_t index);
  comityDeviceEvent_t event();
  // Of the queue, as a user's.
  void* stream(comityDeviceQueue_t queue);
  // After a check that failed no event of the table's is believed: what labs gave it they leave to it.
  static void set_trusted(bool trusted);
  // Memory of the host that copies name: it stays until they have ended, also where a check ends before.
  Bytes& keep(Bytes content);
  std::byte* memory(uint64_t bytes);
  std::byte* memory(const Bytes& content);
  Bytes content(const std::byte* memory, uint64_t bytes);

  void copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t way);
  // Puts an event behind what is on the queue.
  void record(comityDeviceQueue_t queue, comityDeviceEvent_t event);
  bool is_complete(comityDeviceEvent_t event);
  void wait(comityDeviceEvent_t event);
  // Waits for all that is on the queue.
  void finish(comityDeviceQueue_t queue);
  // False: the table does not reduce that.
  bool reduce(comityDeviceQueue_t queue, const comityDeviceReduction& reduction);
  // Throws unless it is OK.
  void good(int32_t result, const char* function);
  // Throws unless it is this error, with words.
  void refused(int32_t result, int32_t expected, const std::string& what);

 private:
  bool is_idle();
  const std::shared_ptr<DeviceRuntime> runtime_;
  const uint32_t device_;
  const uint64_t patience_ms_;
  comityDeviceProperties properties_{};
  std::vector<comityDeviceQueue_t> queues_;
  std::vector<comityDeviceEvent_t> events_;
  std::vector<void*> memories_;
  std::unique_ptr<std::list<Bytes>> kept_ = std::make_unique<std::list<Bytes>>();
};

}  // namespace comity::cli
