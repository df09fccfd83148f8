// What the fakes of makers' runtimes have in common: two devices that are late and out of order, fault on
// direct access, and fail when told to.
//
// A fake exports the published names and signatures and does what a kernel of ours would do on the host. It
// proves that the adapter uses the interface; never that a real device does as it says, nor how fast.
//
//   COMITY_FAKE_FAIL_AT=n   every function fails from its n-th call on, of all of them together
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "src/device/sim/sim_device.h"

namespace comity::fake {

constexpr int kOk = 0;
constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNotReady = 600;
constexpr int kUnknown = 999;

struct Stream {
  int device;
  uint32_t queue;
  bool capturing = false;
};
struct Event {
  int device = -1;  // never recorded
  uint32_t queue = 0;
  Token token = 0;
};
struct Kernel {
  uint32_t type;
  bool sum2;
};

class Runtime {
 public:
  static Runtime& instance();
  // Whether this call is to fail.
  static bool fails();

  int device_count() const { return 2; }
  SimDevice& device(int number) { return *devices_[static_cast<size_t>(number)]; }
  // The device that owns the address; -1: none.
  int owner(const void* address) const;
  int allocate(int device, void** address, size_t bytes);
  int release(void* address);
  Stream* create_stream(int device);
  void destroy_stream(Stream* stream);
  // Null is the default stream of the device.
  uint32_t queue_of(const Stream* stream) const { return stream == nullptr ? 0 : stream->queue; }
  int copy(int device, const Stream* stream, void* to, const void* from, size_t bytes);
  int record(int device, const Stream* stream, Event& event);
  int query(const Event& event);
  int wait_event(int device, const Stream* stream, const Event& event);
  int wait_value(int device, const Stream* stream, const void* word, uint32_t value);
  // By the names of ours; null: there is none of that name.
  static const Kernel* kernel(const std::string& name);
  int launch(int device, const Stream* stream, const Kernel& kernel, void** arguments);

 private:
  Runtime();
  std::unique_ptr<SimDevice> devices_[2];
  std::mutex mutex_;
  std::vector<bool> taken_;  // queues, of both devices alike
};

}  // namespace comity::fake
