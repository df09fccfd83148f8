// The OpenCL devices of this machine, of all platforms, and what each needs to work: a context and kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comity/plugin/device_abi.h"
#include "comity/plugin/result.h"
#include "src/device/opencl/library.h"
#include "src/device/opencl/memory.h"

namespace comity::opencl {

struct Accelerator {
  cl_device_id id = nullptr;
  std::string platform;
  comityDeviceProperties properties{};
  bool shared_memory = false;  // coarse-grained, at least
  bool doubles = false;
  bool rounds_division = false;  // by the compiler's option
  bool is_cpu = false;
  size_t largest_group = 1;  // work items
  // Under `mutex`, made by prepare():
  std::mutex mutex;
  cl_context context = nullptr;
  cl_program program = nullptr;
  bool in_use = false;  // memory or queues were made in the context
};

class Devices {
 public:
  explicit Devices(const Library& cl) : cl_(cl), memory_(cl) {}
  const Library& cl() const { return cl_; }
  Memory& memory() { return memory_; }

  // Finds them. kUnsupported: no platform or no device.
  Status find();
  uint32_t count() const { return static_cast<uint32_t>(all_.size()); }
  // kInvalidArgument: there is none of that number.
  Result<Accelerator*> at(uint32_t number);
  // With a context; kernels too, if wanted: built, or from the cache on disk. Where they do not compile the
  // log says why, and the host reduces. Blocks.
  Status prepare(Accelerator& accelerator, bool kernels);
  // The user's context instead of one of Comity's. kInvalidUsage: it is in use.
  Status use_context(uint32_t number, cl_context context);

 private:
  void describe(Accelerator& accelerator, cl_platform_id platform) const;

  const Library& cl_;
  Memory memory_;
  std::mutex mutex_;  // of find()
  std::vector<std::unique_ptr<Accelerator>> all_;
};

// The program of all kernels for a device; kept on disk by device, driver and source.
Result<cl_program> build_kernels(const Library& cl, const Accelerator& accelerator);

// What info says, as text without the end; "" if nothing.
std::string text_of(const Library& cl, cl_device_id device, cl_device_info what);

// The devices of this process. kUnsupported: OpenCL is not here.
Result<Devices*> devices();

}  // namespace comity::opencl
