// A fake of libcuda.so.1: the driver interface's names and signatures, as far as the adapter uses them.
#include <cstdio>
#include <cstring>

#include "tests/fakes/fake_runtime.h"

using namespace comity;  // NOLINT(google-build-using-namespace): exports below are in no namespace
using fake::Runtime;

namespace {

thread_local std::vector<int> contexts;  // of this thread, the current one last

int current() {
  return contexts.empty() ? -1 : contexts.back();
}

// A context is its device's number, plus 1.
int device_of(void* context) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(context)) - 1;
}

bool none(int device) {
  return device < 0 || device >= Runtime::instance().device_count();
}

}  // namespace

#define COMITY_FAKE extern "C" __attribute__((visibility("default"))) int
#define COMITY_FAKE_FAIL_RETURN \
  if (Runtime::fails()) return fake::kUnknown

COMITY_FAKE cuInit(unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  return fake::kOk;
}
COMITY_FAKE cuDriverGetVersion(int* version) {
  *version = 13000;
  return fake::kOk;
}
COMITY_FAKE cuDeviceGetCount(int* count) {
  COMITY_FAKE_FAIL_RETURN;
  *count = Runtime::instance().device_count();
  return fake::kOk;
}
COMITY_FAKE cuDeviceGetName(char* name, int bytes, int device) {
  COMITY_FAKE_FAIL_RETURN;
  if (none(device)) return fake::kInvalidValue;
  std::snprintf(name, static_cast<size_t>(bytes), "fake of a GPU, number %d", device);
  return fake::kOk;
}
COMITY_FAKE cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = size_t{8} << 30;
  return fake::kOk;
}
COMITY_FAKE cuDeviceGetPCIBusId(char* id, int bytes, int device) {
  std::snprintf(id, static_cast<size_t>(bytes), "0000:%02X:00.0", 0x1a + device);
  return fake::kOk;
}
COMITY_FAKE cuDevicePrimaryCtxRetain(void** context, int device) {
  COMITY_FAKE_FAIL_RETURN;
  if (none(device)) return fake::kInvalidValue;
  *context = reinterpret_cast<void*>(static_cast<uintptr_t>(device) + 1);
  return fake::kOk;
}
COMITY_FAKE cuCtxPushCurrent_v2(void* context) {
  COMITY_FAKE_FAIL_RETURN;
  contexts.push_back(device_of(context));
  return fake::kOk;
}
COMITY_FAKE cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return fake::kInvalidValue;
  *context = reinterpret_cast<void*>(static_cast<uintptr_t>(contexts.back()) + 1);
  contexts.pop_back();
  return fake::kOk;
}
COMITY_FAKE cuCtxGetDevice(int* device) {
  *device = current();
  return current() < 0 ? fake::kInvalidValue : fake::kOk;
}
COMITY_FAKE cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  COMITY_FAKE_FAIL_RETURN;
  void* memory = nullptr;
  if (none(current())) return fake::kInvalidValue;
  const int error = Runtime::instance().allocate(current(), &memory, bytes);
  *address = reinterpret_cast<uintptr_t>(memory);
  return error;
}
COMITY_FAKE cuMemFree_v2(uint64_t address) {
  return Runtime::instance().release(reinterpret_cast<void*>(address));
}
COMITY_FAKE cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  return *memory != nullptr ? fake::kOk : fake::kOutOfMemory;
}
COMITY_FAKE cuMemFreeHost(void* memory) {
  std::free(memory);
  return fake::kOk;
}
COMITY_FAKE cuMemHostGetDevicePointer_v2(uint64_t* address, void* memory, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  *address = reinterpret_cast<uintptr_t>(memory);
  return fake::kOk;
}
COMITY_FAKE cuPointerGetAttribute(void* value, int attribute, uint64_t address) {
  const int owner = Runtime::instance().owner(reinterpret_cast<void*>(address));
  if (owner < 0) return fake::kInvalidValue;
  if (attribute == 2) {
    const unsigned device_memory = 2;
    std::memcpy(value, &device_memory, sizeof device_memory);
  } else if (attribute == 9) {
    std::memcpy(value, &owner, sizeof owner);
  } else {
    return fake::kInvalidValue;
  }
  return fake::kOk;
}
COMITY_FAKE cuStreamCreate(void** stream, unsigned flags) {
  COMITY_FAKE_FAIL_RETURN;
  if (none(current()) || flags != 1) return fake::kInvalidValue;
  *stream = Runtime::instance().create_stream(current());
  return *stream != nullptr ? fake::kOk : fake::kOutOfMemory;
}
COMITY_FAKE cuStreamDestroy_v2(void* stream) {
  Runtime::instance().destroy_stream(static_cast<fake::Stream*>(stream));
  return fake::kOk;
}
COMITY_FAKE cuStreamIsCapturing(void* stream, int* status) {
  const auto* its = static_cast<const fake::Stream*>(stream);
  *status = its != nullptr && its->capturing ? 1 : 0;
  return fake::kOk;
}
COMITY_FAKE cuStreamWaitEvent(void* stream, void* event, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().wait_event(current(), static_cast<fake::Stream*>(stream),
                                        *static_cast<fake::Event*>(event));
}
COMITY_FAKE cuStreamWaitValue32_v2(void* stream, uint64_t address, uint32_t value, unsigned flags) {
  COMITY_FAKE_FAIL_RETURN;
  if (flags != 0) return fake::kInvalidValue;
  return Runtime::instance().wait_value(current(), static_cast<fake::Stream*>(stream),
                                        reinterpret_cast<void*>(address), value);
}
COMITY_FAKE cuMemcpyAsync(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  COMITY_FAKE_FAIL_RETURN;
  const auto* its = static_cast<const fake::Stream*>(stream);
  if (none(current()) || (its != nullptr && its->device != current())) return fake::kInvalidValue;
  return Runtime::instance().copy(current(), its, reinterpret_cast<void*>(to), reinterpret_cast<void*>(from),
                                  bytes);
}
COMITY_FAKE cuEventCreate(void** event, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  *event = new fake::Event();
  return fake::kOk;
}
COMITY_FAKE cuEventRecord(void* event, void* stream) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().record(current(), static_cast<fake::Stream*>(stream),
                                    *static_cast<fake::Event*>(event));
}
COMITY_FAKE cuEventQuery(void* event) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().query(*static_cast<fake::Event*>(event));
}
COMITY_FAKE cuEventDestroy_v2(void* event) {
  delete static_cast<fake::Event*>(event);
  return fake::kOk;
}
COMITY_FAKE cuModuleLoadData(void** module, const void* image) {
  COMITY_FAKE_FAIL_RETURN;
  if (std::strstr(static_cast<const char*>(image), "KERNELS(f32") == nullptr) return fake::kInvalidValue;
  *module = module;
  return fake::kOk;
}
COMITY_FAKE cuModuleGetFunction(void** function, void*, const char* name) {
  *function = const_cast<fake::Kernel*>(Runtime::kernel(name));
  return *function != nullptr ? fake::kOk : fake::kInvalidValue;
}
COMITY_FAKE cuLaunchKernel(void* function, unsigned grid_x, unsigned, unsigned, unsigned block_x, unsigned,
                           unsigned, unsigned, void* stream, void** arguments, void**) {
  COMITY_FAKE_FAIL_RETURN;
  if (grid_x == 0 || block_x == 0 || none(current())) return fake::kInvalidValue;
  return Runtime::instance().launch(current(), static_cast<fake::Stream*>(stream),
                                    *static_cast<fake::Kernel*>(function), arguments);
}
COMITY_FAKE cuGetErrorString(int error, const char** text) {
  *text = error == fake::kOutOfMemory ? "out of memory"
          : error == fake::kUnknown   ? "unknown error"
                                      : "invalid value";
  return fake::kOk;
}
