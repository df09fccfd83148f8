#include "tests/fakes/fake_runtime.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "src/device/host/kernels.h"
#include "src/device/host/reduce_source.h"

namespace comity::fake {
namespace {

// One reduction as a kernel of ours is launched: addresses and offsets in turn, then the numbers.
struct Launched {
  DataType type;
  uint32_t sources, op, divisor, flags;
  uint64_t divided, count;
  std::vector<SimDevice::Range> ranges;  // sources, then the destination
};

constexpr uint32_t kFirstIsAccumulator = 1, kIntoAccumulator = 2, kDividesSources = 4;

uint64_t accumulator_bytes(DataType type) {
  return is_narrow_float(type) ? sizeof(float) : size_of(type);
}

Launched read(const Kernel& kernel, void** arguments) {
  Launched work{static_cast<DataType>(kernel.type), 2, 0, 0, 0, 0, 0, {}};
  const uint32_t slots = kernel.sum2 ? 2 : kKernelSources;
  const auto word = [&](size_t at) { return *static_cast<uint64_t*>(arguments[at]); };
  const auto number = [&](size_t at) { return *static_cast<uint32_t*>(arguments[at]); };
  const size_t behind = 2 * size_t{slots} + 2;
  work.count = word(behind);
  if (!kernel.sum2) {
    work.sources = number(behind + 1);
    work.op = number(behind + 2);
    work.divisor = number(behind + 3);
    work.flags = number(behind + 4);
    work.divided = word(behind + 5);
  }
  const auto range = [&](size_t slot, bool accumulates) {
    const uint64_t element = accumulates ? accumulator_bytes(work.type) : size_of(work.type);
    return SimDevice::Range{reinterpret_cast<void*>(word(2 * slot) + word(2 * slot + 1)),
                            work.count * element};
  };
  for (uint32_t k = 0; k < work.sources; ++k)
    work.ranges.push_back(range(k, k == 0 && (work.flags & kFirstIsAccumulator) != 0));
  work.ranges.push_back(range(slots, (work.flags & kIntoAccumulator) != 0));
  return work;
}

using Bytes = std::vector<std::byte>;

void fold(DataType type, uint32_t op, uint32_t divisor, std::vector<const std::byte*> sources, std::byte* to,
          uint64_t count) {
  ReduceWork work;
  work.type = type;
  work.op = static_cast<RedOp>(op);
  work.sources = sources;
  work.destinations = std::span(&to, 1);
  work.count = count;
  work.divisor = divisor;
  reduce_host(work);
}

void run(const Launched& work, const std::vector<std::byte*>& places) {
  const bool narrow = is_narrow_float(work.type);
  const DataType wide = narrow ? DataType::kFloat32 : work.type;
  const uint64_t bytes = work.count * size_of(wide);
  std::vector<Bytes> operands;
  for (uint32_t k = 0; k < work.sources; ++k) {
    Bytes& operand = operands.emplace_back(bytes);
    if (narrow && !(k == 0 && (work.flags & kFirstIsAccumulator) != 0))
      decode_floats(best_isa(), work.type, places[k], reinterpret_cast<float*>(operand.data()), work.count);
    else
      std::memcpy(operand.data(), places[k], bytes);
    if ((work.flags & kDividesSources) != 0 && work.divisor != 0 && (work.divided >> k & 1) == 0)
      fold(wide, 0, work.divisor, {operand.data()}, operand.data(), work.count);
  }
  std::vector<const std::byte*> sources;
  for (const Bytes& operand : operands) sources.push_back(operand.data());
  Bytes result(bytes);
  fold(wide, work.op, (work.flags & kDividesSources) != 0 ? 0 : work.divisor, sources, result.data(),
       work.count);
  if (narrow && (work.flags & kIntoAccumulator) == 0)
    encode_floats(best_isa(), work.type, reinterpret_cast<float*>(result.data()), places.back(), work.count);
  else
    std::memcpy(places.back(), result.data(), bytes);
}

int of(const Status& status) {
  return status.ok() ? kOk : status.code() == Code::kSystemError ? kOutOfMemory : kInvalidValue;
}

}  // namespace

Runtime& Runtime::instance() {
  static auto* const runtime = new Runtime();
  return *runtime;
}

Runtime::Runtime() : taken_(SimDevice::kStreams, false) {
  for (int number = 0; number < 2; ++number) {
    SimDevice::Options options;
    options.memory_bytes = uint64_t{8} << 30;
    options.seed = 10 + static_cast<uint64_t>(number);
    devices_[number] = SimDevice::create(options).value();
  }
  taken_[0] = true;  // the default stream
}

bool Runtime::fails() {
  static std::atomic<uint64_t> calls{0};
  const char* at = std::getenv("COMITY_FAKE_FAIL_AT");
  if (at == nullptr || *at == '\0') {
    calls = 0;
    return false;
  }
  return ++calls >= std::strtoull(at, nullptr, 10);
}

int Runtime::owner(const void* address) const {
  for (int number = 0; number < 2; ++number) {
    if (devices_[number]->owns(address, 0)) return number;
  }
  return -1;
}

int Runtime::allocate(int device, void** address, size_t bytes) {
  const auto memory = devices_[device]->allocate(bytes);
  if (memory.ok()) *address = *memory;
  return of(memory.status());
}

int Runtime::release(void* address) {
  const int device = owner(address);
  return device < 0 ? kInvalidValue : of(devices_[device]->release(address));
}

Stream* Runtime::create_stream(int device) {
  const std::lock_guard lock(mutex_);
  for (uint32_t queue = 1; queue < SimDevice::kStreams; ++queue) {
    if (taken_[queue]) continue;
    taken_[queue] = true;
    return new Stream{device, queue};
  }
  return nullptr;
}

void Runtime::destroy_stream(Stream* stream) {
  const std::lock_guard lock(mutex_);
  taken_[stream->queue] = false;
  delete stream;
}

int Runtime::copy(int device, const Stream* stream, void* to, const void* from, size_t bytes) {
  return of(devices_[device]->copy(queue_of(stream), to, from, bytes).status());
}

int Runtime::record(int device, const Stream* stream, Event& event) {
  event = {device, queue_of(stream), devices_[device]->issued(queue_of(stream))};
  return kOk;
}

int Runtime::query(const Event& event) {
  if (event.device < 0) return kOk;
  const auto done = devices_[event.device]->poll(event.queue, event.token);
  if (!done.ok()) return kUnknown;
  return *done ? kOk : kNotReady;
}

int Runtime::wait_event(int device, const Stream* stream, const Event& event) {
  if (event.device < 0) return kOk;
  if (event.device != device) return kInvalidValue;
  devices_[device]->hold_until(queue_of(stream), event.queue, event.token);
  return kOk;
}

int Runtime::wait_value(int device, const Stream* stream, const void* word, uint32_t value) {
  auto* const its = static_cast<uint32_t*>(const_cast<void*>(word));
  devices_[device]->hold_until(queue_of(stream), [its, value] {
    return static_cast<int32_t>(std::atomic_ref<uint32_t>(*its).load() - value) >= 0;
  });
  return kOk;
}

const Kernel* Runtime::kernel(const std::string& name) {
  static const std::vector<Kernel> all = [] {
    std::vector<Kernel> made;
    for (uint32_t type = 0; type < 12; ++type) {
      made.push_back({type, false});
      made.push_back({type, true});
    }
    return made;
  }();
  for (const Kernel& each : all) {
    if ((each.sum2 ? "sum2_" : "reduce_") + std::string(kernel_name_of_type(each.type)) == name) return &each;
  }
  return nullptr;
}

int Runtime::launch(int device, const Stream* stream, const Kernel& kernel, void** arguments) {
  const Launched work = read(kernel, arguments);
  return of(devices_[device]
                ->launch(queue_of(stream), work.ranges,
                         [work](const std::vector<std::byte*>& places) { run(work, places); })
                .status());
}

}  // namespace comity::fake
