// A fake of libamdhip64.so: the runtime-like names and signatures, as far as the adapter uses them.
#include <cstdio>
#include <cstring>

#include "tests/fakes/fake_runtime.h"

using namespace comity;  // NOLINT(google-build-using-namespace): exports below are in no namespace
using fake::Runtime;

namespace {

thread_local int current = 0;

fake::Stream* stream_of(void* stream) {
  return static_cast<fake::Stream*>(stream);
}

}  // namespace

#define COMITY_FAKE extern "C" __attribute__((visibility("default"))) int
#define COMITY_FAKE_FAIL_RETURN \
  if (Runtime::fails()) return fake::kUnknown

COMITY_FAKE hipInit(unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  return fake::kOk;
}
COMITY_FAKE hipDriverGetVersion(int* version) {
  *version = 60'200'000;
  return fake::kOk;
}
COMITY_FAKE hipGetDeviceCount(int* count) {
  *count = Runtime::instance().device_count();
  return fake::kOk;
}
COMITY_FAKE hipDeviceGetName(char* name, int bytes, int device) {
  std::snprintf(name, static_cast<size_t>(bytes), "fake of an accelerator, number %d", device);
  return device < 2 ? fake::kOk : fake::kInvalidValue;
}
COMITY_FAKE hipDeviceTotalMem(size_t* bytes, int) {
  *bytes = size_t{8} << 30;
  return fake::kOk;
}
COMITY_FAKE hipSetDevice(int device) {
  if (device < 0 || device > 1) return fake::kInvalidValue;
  current = device;
  return fake::kOk;
}
COMITY_FAKE hipGetDevice(int* device) {
  *device = current;
  return fake::kOk;
}
COMITY_FAKE hipMalloc(void** memory, size_t bytes) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().allocate(current, memory, bytes);
}
COMITY_FAKE hipFree(void* memory) {
  return Runtime::instance().release(memory);
}
COMITY_FAKE hipHostMalloc(void** memory, size_t bytes, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  return *memory != nullptr ? fake::kOk : fake::kOutOfMemory;
}
COMITY_FAKE hipHostFree(void* memory) {
  std::free(memory);
  return fake::kOk;
}
COMITY_FAKE hipHostGetDevicePointer(void** address, void* memory, unsigned) {
  *address = memory;
  return fake::kOk;
}
COMITY_FAKE hipPointerGetAttribute(void* value, int attribute, void* address) {
  const int owner = Runtime::instance().owner(address);
  const unsigned device_memory = 2;
  if (owner < 0 || (attribute != 2 && attribute != 9)) return fake::kInvalidValue;
  std::memcpy(value, attribute == 2 ? static_cast<const void*>(&device_memory) : &owner, sizeof owner);
  return fake::kOk;
}
COMITY_FAKE hipMemcpyAsync(void* to, const void* from, size_t bytes, int kind, void* stream) {
  COMITY_FAKE_FAIL_RETURN;
  if (kind != 4 || (stream != nullptr && stream_of(stream)->device != current)) return fake::kInvalidValue;
  return Runtime::instance().copy(current, stream_of(stream), to, from, bytes);
}
COMITY_FAKE hipStreamCreateWithFlags(void** stream, unsigned flags) {
  COMITY_FAKE_FAIL_RETURN;
  if (flags != 1) return fake::kInvalidValue;
  *stream = Runtime::instance().create_stream(current);
  return *stream != nullptr ? fake::kOk : fake::kOutOfMemory;
}
COMITY_FAKE hipStreamDestroy(void* stream) {
  Runtime::instance().destroy_stream(stream_of(stream));
  return fake::kOk;
}
COMITY_FAKE hipStreamIsCapturing(void* stream, int* status) {
  *status = stream != nullptr && stream_of(stream)->capturing ? 1 : 0;
  return fake::kOk;
}
COMITY_FAKE hipStreamWaitEvent(void* stream, void* event, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().wait_event(current, stream_of(stream), *static_cast<fake::Event*>(event));
}
COMITY_FAKE hipStreamWaitValue32(void* stream, void* word, uint32_t value, unsigned flags, uint32_t mask) {
  COMITY_FAKE_FAIL_RETURN;
  if (flags != 0 || mask != UINT32_MAX) return fake::kInvalidValue;
  return Runtime::instance().wait_value(current, stream_of(stream), word, value);
}
COMITY_FAKE hipEventCreateWithFlags(void** event, unsigned) {
  COMITY_FAKE_FAIL_RETURN;
  *event = new fake::Event();
  return fake::kOk;
}
COMITY_FAKE hipEventRecord(void* event, void* stream) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().record(current, stream_of(stream), *static_cast<fake::Event*>(event));
}
COMITY_FAKE hipEventQuery(void* event) {
  COMITY_FAKE_FAIL_RETURN;
  return Runtime::instance().query(*static_cast<fake::Event*>(event));
}
COMITY_FAKE hipEventDestroy(void* event) {
  delete static_cast<fake::Event*>(event);
  return fake::kOk;
}
COMITY_FAKE hipModuleLoadData(void** module, const void* image) {
  if (std::strstr(static_cast<const char*>(image), "KERNELS(f32") == nullptr) return fake::kInvalidValue;
  *module = module;
  return fake::kOk;
}
COMITY_FAKE hipModuleGetFunction(void** function, void*, const char* name) {
  *function = const_cast<fake::Kernel*>(Runtime::kernel(name));
  return *function != nullptr ? fake::kOk : fake::kInvalidValue;
}
COMITY_FAKE hipModuleLaunchKernel(void* function, unsigned grid_x, unsigned, unsigned, unsigned block_x,
                                  unsigned, unsigned, unsigned, void* stream, void** arguments, void**) {
  COMITY_FAKE_FAIL_RETURN;
  if (grid_x == 0 || block_x == 0) return fake::kInvalidValue;
  return Runtime::instance().launch(current, stream_of(stream), *static_cast<fake::Kernel*>(function),
                                    arguments);
}
extern "C" __attribute__((visibility("default"))) const char* hipGetErrorString(int error) {
  return error == fake::kOutOfMemory ? "hipErrorOutOfMemory" : "hipErrorUnknown";
}
