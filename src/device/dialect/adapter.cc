#include "src/device/dialect/adapter.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "src/base/log.h"
#include "src/device/host/reduce_source.h"

namespace comity::dialect {
namespace {

// Numbers that all dialects share.
constexpr int kOutOfMemory = 2;
constexpr unsigned kNonBlocking = 1;     // of streams: the default stream does not order them
constexpr unsigned kWithoutTiming = 2;   // of events
constexpr unsigned kPortableMapped = 3;  // of memory of the host: for all devices, and with their addresses
constexpr unsigned kAtLeast = 0;         // of waits for a value
constexpr int kByAddresses = 4;          // of copies: the runtime finds out from where to where
constexpr int kMemoryType = 2, kOrdinal = 9, kRangeStart = 11, kRangeBytes = 12;
constexpr uint32_t kQueues = 4;
constexpr unsigned kGroup = 256;

thread_local std::string last_error;

}  // namespace

const char* error_text() {
  return last_error.c_str();
}

int32_t Adapter::refuse(int32_t result, std::string why) {
  last_error = std::move(why);
  return result;
}

int32_t Adapter::answer(const char* function, int error) {
  if (error == 0) return COMITY_DEVICE_OK;
  const char* text = nullptr;
  if (api_.error_text_driver != nullptr)
    api_.error_text_driver(error, &text);
  else if (api_.error_text_runtime != nullptr)
    text = api_.error_text_runtime(error);
  return refuse(error == kOutOfMemory ? COMITY_DEVICE_NO_MEMORY : COMITY_DEVICE_FAILED,
                fmt::format("{}{}: {} ({})", dialect_.prefix, function,
                            text != nullptr ? text : "an error without words", error));
}

// The user's current device is what it was afterwards.
class Adapter::Current {
 public:
  Current(Adapter& adapter, uint32_t device) : api_(adapter.api_) {
    if (adapter.dialect_.shape == Shape::kDriver) {
      error_ = api_.push_context(adapter.devices_[device]->context);
    } else {
      error_ = api_.get_device(&before_);
      if (error_ == 0) error_ = api_.set_device(static_cast<int>(device));
    }
  }
  ~Current() {
    void* popped = nullptr;
    if (error_ != 0) return;
    if (api_.pop_context != nullptr)
      static_cast<void>(api_.pop_context(&popped));
    else
      static_cast<void>(api_.set_device(before_));
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  int error() const { return error_; }

 private:
  const Api& api_;
  int before_ = 0;
  int error_ = 0;
};

// --- the runtime -------------------------------------------------------------------------------------------

int32_t Adapter::start() {
  if (!devices_.empty()) return COMITY_DEVICE_OK;
  auto api = open_api(dialect_);
  if (!api.ok()) return refuse(COMITY_DEVICE_UNSUPPORTED, std::string(api.status().message()));
  api_ = *api;
  // Without a device, or a driver that fits, initialising fails: there is nothing to use then.
  int count = 0;
  if (const int error = api_.init(0); error != 0) {
    answer("Init", error);
    return COMITY_DEVICE_UNSUPPORTED;
  }
  if (api_.device_count(&count) != 0 || count <= 0)
    return refuse(COMITY_DEVICE_UNSUPPORTED, fmt::format("the driver of {} finds no device", dialect_.maker));
  std::vector<std::unique_ptr<Device>> devices;
  for (int number = 0; number < count; ++number) {
    devices.push_back(std::make_unique<Device>());
    if (api_.retain_context == nullptr) continue;
    if (const int error = api_.retain_context(&devices.back()->context, number); error != 0)
      return answer("DevicePrimaryCtxRetain", error);
  }
  devices_ = std::move(devices);
  return COMITY_DEVICE_OK;
}

int32_t Adapter::device_count(uint32_t* count) {
  *count = static_cast<uint32_t>(devices_.size());
  return COMITY_DEVICE_OK;
}

int32_t Adapter::properties(uint32_t device, comityDeviceProperties* properties) {
  if (!has(device)) return refuse(COMITY_DEVICE_INVALID, "there is no such device");
  const int number = static_cast<int>(device);
  if (const int error = api_.device_name(properties->name, sizeof properties->name - 1, number); error != 0)
    return answer("DeviceGetName", error);
  size_t bytes = 0;
  if (const int error = api_.total_memory(&bytes, number); error != 0) return answer("DeviceTotalMem", error);
  int version = 0;
  if (api_.driver_version != nullptr) api_.driver_version(&version);
  std::snprintf(properties->driver, sizeof properties->driver, "%s %d", dialect_.name, version);
  if (api_.pci_bus_id != nullptr &&
      api_.pci_bus_id(properties->bus_id, sizeof properties->bus_id - 1, number) == 0) {
    for (char* at = properties->bus_id; *at != '\0'; ++at) *at = static_cast<char>(std::tolower(*at));
  }
  // Where there is no compiler reduce() says so, and the host reduces.
  properties->flags = COMITY_DEVICE_CANONICAL;
  properties->memory_bytes = bytes;
  properties->queues = kQueues;
  properties->max_sources = kKernelSources;
  return COMITY_DEVICE_OK;
}

int32_t Adapter::current_device(uint32_t* device) {
  int number = 0;
  const int error = api_.context_device != nullptr ? api_.context_device(&number) : api_.get_device(&number);
  if (error != 0) return answer("GetDevice", error);
  *device = static_cast<uint32_t>(number);
  return COMITY_DEVICE_OK;
}

// --- memory ------------------------------------------------------------------------------------------------

int32_t Adapter::allocate(uint32_t device, uint64_t bytes, void** pointer) {
  if (!has(device)) return refuse(COMITY_DEVICE_INVALID, "there is no such device");
  const Current current(*this, device);
  uint64_t address = 0;
  const int error = current.error() != 0 ? current.error() : api_.allocate(&address, bytes);
  if (error != 0) return answer("MemAlloc", error);
  const std::unique_lock lock(memory_mutex_);
  ranges_[address] = {bytes, device};
  *pointer = reinterpret_cast<void*>(address);
  return COMITY_DEVICE_OK;
}

int32_t Adapter::release(uint32_t device, void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  {
    const std::unique_lock lock(memory_mutex_);
    const auto found = ranges_.find(address);
    if (found == ranges_.end() || found->second.device != device)
      return refuse(COMITY_DEVICE_INVALID, "not an allocation of this device");
    ranges_.erase(found);
  }
  const Current current(*this, device);
  return answer("MemFree", current.error() != 0 ? current.error() : api_.release(address));
}

// What Comity allocated is in the map; of the user's own memory the driver knows.
int32_t Adapter::find(const void* pointer, comityDevicePointer* found) {
  const auto address = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer));
  {
    const std::shared_lock lock(memory_mutex_);
    auto after = ranges_.upper_bound(address);
    if (after != ranges_.begin() && address - std::prev(after)->first <= std::prev(after)->second.bytes) {
      const auto& [base, range] = *std::prev(after);
      found->device = range.device;
      found->base = base;
      found->bytes = range.bytes;
      return COMITY_DEVICE_OK;
    }
  }
  int version = 0;
  if (api_.driver_version != nullptr) api_.driver_version(&version);
  const bool old_runtime = dialect_.shape == Shape::kRuntime && version < 60'000'000;
  const unsigned of_device = old_runtime ? 1 : 2;
  unsigned type = 0;
  int ordinal = 0;
  const Current current(*this, 0);  // a thread without a context asks for nothing
  if (api_.pointer_attribute == nullptr || api_.pointer_attribute(&type, kMemoryType, address) != 0 ||
      type != of_device || api_.pointer_attribute(&ordinal, kOrdinal, address) != 0)
    return refuse(COMITY_DEVICE_INVALID, "no memory of this runtime");
  found->device = static_cast<uint32_t>(ordinal);
  size_t bytes = 0;
  if (api_.pointer_attribute(&found->base, kRangeStart, address) == 0 &&
      api_.pointer_attribute(&bytes, kRangeBytes, address) == 0)
    found->bytes = bytes;
  return COMITY_DEVICE_OK;
}

int32_t Adapter::allocate_host(uint64_t bytes, void** pointer) {
  const Current current(*this, 0);
  return answer("MemHostAlloc",
                current.error() != 0 ? current.error() : api_.host_allocate(pointer, bytes, kPortableMapped));
}

int32_t Adapter::release_host(void* pointer) {
  const Current current(*this, 0);
  return answer("MemFreeHost", current.error() != 0 ? current.error() : api_.host_release(pointer));
}

// --- queues ------------------------------------------------------------------------------------------------

void Adapter::load_kernels(Device& device) {
  const Result<std::string> image = compile_kernels(dialect_);
  void* module = nullptr;
  int error = 0;
  if (image.ok() && api_.module_load != nullptr && api_.module_function != nullptr)
    error = api_.module_load(&module, image->data());
  for (uint32_t type = 0; error == 0 && module != nullptr && type < COMITY_DEVICE_TYPES; ++type) {
    const std::string name(kernel_name_of_type(type));
    error = api_.module_function(&device.kernels[type].reduce, module, ("reduce_" + name).c_str());
    if (error == 0)
      error = api_.module_function(&device.kernels[type].sum2, module, ("sum2_" + name).c_str());
  }
  device.loaded = error == 0 && module != nullptr;
  if (device.loaded) return;
  if (error != 0) answer("ModuleLoadData", error);
  COMITY_LOG_WARN("{}: the host reduces for it: {}", dialect_.name,
                  image.ok() ? last_error : std::string(image.status().message()));
}

int32_t Adapter::queue_create(uint32_t device, comityDeviceQueue_t* queue) {
  if (!has(device)) return refuse(COMITY_DEVICE_INVALID, "there is no such device");
  const Current current(*this, device);
  if (current.error() != 0) return answer("CtxPushCurrent", current.error());
  std::call_once(devices_[device]->loading, [&] { load_kernels(*devices_[device]); });
  void* stream = nullptr;
  if (const int error = api_.stream_create(&stream, kNonBlocking); error != 0)
    return answer("StreamCreate", error);
  *queue = reinterpret_cast<comityDeviceQueue_t>(new Queue{device, stream});
  return COMITY_DEVICE_OK;
}

int32_t Adapter::queue_destroy(comityDeviceQueue_t queue) {
  const std::unique_ptr<Queue> its(&of(queue));
  const Current current(*this, its->device);
  return answer("StreamDestroy", current.error() != 0 ? current.error() : api_.stream_destroy(its->stream));
}

int Adapter::copy_async(void* to, const void* from, uint64_t bytes, void* stream) const {
  if (api_.copy_runtime != nullptr) return api_.copy_runtime(to, from, bytes, kByAddresses, stream);
  return api_.copy_driver(reinterpret_cast<uintptr_t>(to), reinterpret_cast<uintptr_t>(from), bytes, stream);
}

int32_t Adapter::copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes) {
  const Current current(*this, of(queue).device);
  if (current.error() != 0) return answer("CtxPushCurrent", current.error());
  return answer("MemcpyAsync", copy_async(to, from, bytes, of(queue).stream));
}

int32_t Adapter::launch(const Queue& queue, void* kernel, uint64_t count, void** arguments) {
  const Current current(*this, queue.device);
  if (current.error() != 0) return answer("CtxPushCurrent", current.error());
  const auto groups = static_cast<unsigned>((count + kGroup - 1) / kGroup);
  return answer("LaunchKernel",
                api_.launch(kernel, groups, 1, 1, kGroup, 1, 1, 0, queue.stream, arguments, nullptr));
}

int32_t Adapter::reduce(comityDeviceQueue_t queue, const comityDeviceReduction* reduction) {
  if (reduction->source_count == 0 || reduction->source_count > kKernelSources ||
      reduction->type >= COMITY_DEVICE_TYPES || reduction->op >= COMITY_DEVICE_OPS)
    return refuse(COMITY_DEVICE_INVALID, "reduce: a type, an operation or a number of sources that is none");
  const Device& device = *devices_[of(queue).device];
  if (!device.loaded)
    return refuse(COMITY_DEVICE_UNSUPPORTED, "there is no run-time compiler for this device");
  const Kernels& kernels = device.kernels[reduction->type];
  const bool sum2 = reduction->source_count == 2 && reduction->op == COMITY_DEVICE_SUM &&
                    reduction->flags == 0 && reduction->divisor == 0;
  // Addresses and offsets in turn, of the sources and the destination; then the numbers.
  std::array<uint64_t, 2 * kKernelSources + 2> places{};
  const uint32_t sources = sum2 ? 2 : kKernelSources;
  for (uint32_t k = 0; k < sources; ++k)
    places[size_t{2} * k] =
        reinterpret_cast<uintptr_t>(reduction->sources[k < reduction->source_count ? k : 0]);
  places[size_t{2} * sources] = reinterpret_cast<uintptr_t>(reduction->destination);
  uint64_t count = reduction->count, divided = reduction->divided;
  std::array<uint32_t, 4> numbers{reduction->source_count, reduction->op, reduction->divisor,
                                  reduction->flags};
  std::array<void*, 2 * kKernelSources + 2 + 6> arguments{};
  size_t next = 0;
  for (size_t place = 0; place < 2 * size_t{sources} + 2; ++place) arguments[next++] = &places[place];
  arguments[next++] = &count;
  if (!sum2) {
    for (uint32_t& number : numbers) arguments[next++] = &number;
    arguments[next++] = &divided;
  }
  return launch(of(queue), sum2 ? kernels.sum2 : kernels.reduce, count, arguments.data());
}

// --- events ------------------------------------------------------------------------------------------------

int32_t Adapter::event_create(uint32_t device, comityDeviceEvent_t* event) {
  if (!has(device)) return refuse(COMITY_DEVICE_INVALID, "there is no such device");
  const Current current(*this, device);
  void* made = nullptr;
  const int error = current.error() != 0 ? current.error() : api_.event_create(&made, kWithoutTiming);
  if (error != 0) return answer("EventCreate", error);
  *event = reinterpret_cast<comityDeviceEvent_t>(new Event{device, made});
  return COMITY_DEVICE_OK;
}

int32_t Adapter::event_destroy(comityDeviceEvent_t event) {
  const std::unique_ptr<Event> its(&of(event));
  const Current current(*this, its->device);
  return answer("EventDestroy", current.error() != 0 ? current.error() : api_.event_destroy(its->event));
}

int32_t Adapter::event_record(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  return stream_record(of(queue).device, of(queue).stream, event);
}

int32_t Adapter::event_query(comityDeviceEvent_t event) {
  const Current current(*this, of(event).device);
  const int state = current.error() != 0 ? current.error() : api_.event_query(of(event).event);
  return state == kNotReady ? int32_t{COMITY_DEVICE_PENDING} : answer("EventQuery", state);
}

int32_t Adapter::queue_wait(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  const Current current(*this, of(queue).device);
  const int error =
      current.error() != 0 ? current.error() : api_.stream_wait_event(of(queue).stream, of(event).event, 0);
  return answer("StreamWaitEvent", error);
}

// --- a user's streams --------------------------------------------------------------------------------------

int32_t Adapter::queue_stream(comityDeviceQueue_t queue, void** stream) {
  *stream = of(queue).stream;
  return COMITY_DEVICE_OK;
}

bool Adapter::takes_gates() const {
  return api_.wait_value_driver != nullptr || api_.wait_value_runtime != nullptr;
}

int32_t Adapter::stream_check(uint32_t device, void* stream) {
  if (!has(device)) return refuse(COMITY_DEVICE_INVALID, "there is no such device");
  if (!takes_gates())
    return refuse(COMITY_DEVICE_UNSUPPORTED, "its streams cannot wait for a value in memory");
  const Current current(*this, device);
  int capturing = 0;
  if (api_.stream_is_capturing == nullptr || current.error() != 0)
    return answer("CtxPushCurrent", current.error());
  if (const int error = api_.stream_is_capturing(stream, &capturing); error != 0)
    return answer("StreamIsCapturing", error) == COMITY_DEVICE_OK ? int32_t{COMITY_DEVICE_OK}
                                                                  : int32_t{COMITY_DEVICE_INVALID};
  if (capturing == 0) return COMITY_DEVICE_OK;
  return refuse(COMITY_DEVICE_UNSUPPORTED, "the stream is being captured, and a call cannot be");
}

int32_t Adapter::stream_record(uint32_t device, void* stream, comityDeviceEvent_t event) {
  const Current current(*this, device);
  const int error = current.error() != 0 ? current.error() : api_.event_record(of(event).event, stream);
  return answer("EventRecord", error);
}

int Adapter::wait_for_word(void* stream, const Gate& gate) const {
  if (api_.wait_value_driver != nullptr) return api_.wait_value_driver(stream, gate.address, 1, kAtLeast);
  return api_.wait_value_runtime(stream, reinterpret_cast<void*>(gate.address), 1, kAtLeast, UINT32_MAX);
}

std::unique_ptr<Adapter::Gate> Adapter::free_gate(uint32_t device) {
  const std::lock_guard lock(gates_mutex_);
  for (auto at = opened_.begin(); at != opened_.end(); ++at) {
    if ((*at)->device != device || api_.event_query((*at)->passed) != 0) continue;
    std::unique_ptr<Gate> gate = std::move(*at);
    opened_.erase(at);
    return gate;
  }
  return nullptr;
}

int32_t Adapter::new_gate(uint32_t device, std::unique_ptr<Gate>& gate) {
  gate = std::make_unique<Gate>(Gate{device, nullptr, 0, nullptr});
  void* word = nullptr;
  int error = api_.host_allocate(&word, sizeof(uint32_t), kPortableMapped);
  gate->word = static_cast<uint32_t*>(word);
  if (error == 0) error = api_.host_address(&gate->address, word, 0);
  if (error == 0) error = api_.event_create(&gate->passed, kWithoutTiming);
  return answer("MemHostAlloc", error);
}

int32_t Adapter::stream_hold(uint32_t device, void* stream, comityDeviceGate_t* gate) {
  const Current current(*this, device);
  if (current.error() != 0) return answer("CtxPushCurrent", current.error());
  std::unique_ptr<Gate> its = free_gate(device);
  if (its == nullptr) {
    if (const int32_t made = new_gate(device, its); made != COMITY_DEVICE_OK) return made;
  }
  std::atomic_ref<uint32_t>(*its->word).store(0, std::memory_order_release);
  if (const int error = wait_for_word(stream, *its); error != 0) return answer("StreamWaitValue32", error);
  if (const int error = api_.event_record(its->passed, stream); error != 0) {
    std::atomic_ref<uint32_t>(*its->word).store(1, std::memory_order_release);
    static_cast<void>(its.release());  // the stream still looks at it
    return answer("EventRecord", error);
  }
  *gate = reinterpret_cast<comityDeviceGate_t>(its.release());
  return COMITY_DEVICE_OK;
}

int32_t Adapter::gate_open(comityDeviceGate_t gate) {
  std::unique_ptr<Gate> its(reinterpret_cast<Gate*>(gate));
  std::atomic_ref<uint32_t>(*its->word).store(1, std::memory_order_release);
  const std::lock_guard lock(gates_mutex_);
  opened_.push_back(std::move(its));
  return COMITY_DEVICE_OK;
}

}  // namespace comity::dialect
