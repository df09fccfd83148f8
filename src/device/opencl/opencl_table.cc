#include "src/device/opencl/opencl_table.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "src/base/settings.h"
#include "src/device/host/abi_words.h"
#include "src/device/host/reduce_source.h"
#include "src/device/opencl/devices.h"

namespace comity::opencl {
namespace {

thread_local std::string last_error;

// A kernel's arguments belong to the kernel: every queue has its own.
struct Queue {
  Devices& devices;
  Accelerator& accelerator;
  uint32_t device;
  cl_command_queue queue = nullptr;
  cl_event last = nullptr;  // of the command that was put on it last
  std::array<std::array<cl_kernel, 2>, COMITY_DEVICE_TYPES> kernels{};  // reduce, sum2
};

struct Event {
  cl_event event = nullptr;  // null: nothing to wait for
};

Queue& of(comityDeviceQueue_t queue) {
  return *reinterpret_cast<Queue*>(queue);
}
Event& of(comityDeviceEvent_t event) {
  return *reinterpret_cast<Event*>(event);
}

int32_t answer(const Status& status) {
  if (status.ok()) return COMITY_DEVICE_OK;
  last_error = status.message();
  return device_result(status.code());
}

int32_t answer(const char* function, cl_int error) {
  return error == CL_SUCCESS ? int32_t{COMITY_DEVICE_OK} : answer(failed(function, error));
}

int32_t refuse(int32_t result, const char* why) {
  last_error = why;
  return result;
}

// After start().
Devices& all() {
  return *devices().value();
}
const Library& cl() {
  return all().cl();
}

// --- the runtime -------------------------------------------------------------------------------------------

int32_t start() {
  const Result<Devices*> found = devices();
  return answer(found.ok() ? (*found)->find() : found.status());
}

const char* error_text() {
  return last_error.c_str();
}

int32_t device_count(uint32_t* count) {
  *count = all().count();
  return COMITY_DEVICE_OK;
}

int32_t properties(uint32_t device, comityDeviceProperties* properties) {
  const auto accelerator = all().at(device);
  if (!accelerator.ok()) return answer(accelerator.status());
  const uint32_t size = properties->size;
  *properties = (*accelerator)->properties;
  properties->size = size;
  return COMITY_DEVICE_OK;
}

// --- memory ------------------------------------------------------------------------------------------------

int32_t allocate(uint32_t device, uint64_t bytes, void** pointer) {
  const auto accelerator = all().at(device);
  if (!accelerator.ok()) return answer(accelerator.status());
  if (const Status ready = all().prepare(**accelerator, false); !ready.ok()) return answer(ready);
  if (bytes == 0 || bytes > (*accelerator)->properties.memory_bytes)
    return refuse(COMITY_DEVICE_NO_MEMORY, "the device has not so much memory, or no bytes are asked for");
  const bool shared = (*accelerator)->shared_memory && setting_text("COMITY_OPENCL_MEMORY") != "buffer";
  const Result<void*> memory = all().memory().allocate((*accelerator)->context, device, bytes, shared);
  if (!memory.ok()) return answer(memory.status());
  *pointer = *memory;
  return COMITY_DEVICE_OK;
}

int32_t release(uint32_t device, void* pointer) {
  return answer(all().memory().release(device, pointer));
}

int32_t find(const void* pointer, comityDevicePointer* found) {
  const auto place = all().memory().find(pointer);
  if (!place) return refuse(COMITY_DEVICE_INVALID, "no memory of an OpenCL device");
  found->device = place->device;
  found->base = place->base;
  found->bytes = place->bytes;
  return COMITY_DEVICE_OK;
}

// --- queues ------------------------------------------------------------------------------------------------

int32_t queue_create(uint32_t device, comityDeviceQueue_t* queue) {
  const auto accelerator = all().at(device);
  if (!accelerator.ok()) return answer(accelerator.status());
  if (const Status ready = all().prepare(**accelerator, true); !ready.ok()) return answer(ready);
  auto made = std::make_unique<Queue>(Queue{all(), **accelerator, device});
  cl_int error = CL_SUCCESS;
  made->queue = cl().clCreateCommandQueue((*accelerator)->context, (*accelerator)->id, 0, &error);
  if (error != CL_SUCCESS) return answer("clCreateCommandQueue", error);
  *queue = reinterpret_cast<comityDeviceQueue_t>(made.release());
  return COMITY_DEVICE_OK;
}

int32_t queue_destroy(comityDeviceQueue_t queue) {
  const std::unique_ptr<Queue> its(&of(queue));
  for (const auto& pair : its->kernels) {
    for (cl_kernel kernel : pair) {
      if (kernel != nullptr) cl().clReleaseKernel(kernel);
    }
  }
  if (its->last != nullptr) cl().clReleaseEvent(its->last);
  return answer("clReleaseCommandQueue", cl().clReleaseCommandQueue(its->queue));
}

// Takes the event of what was just put on the queue.
int32_t issued(Queue& queue, const char* function, cl_int error, cl_event event) {
  if (error != CL_SUCCESS) return answer(function, error);
  if (queue.last != nullptr) cl().clReleaseEvent(queue.last);
  queue.last = event;
  return COMITY_DEVICE_OK;
}

int32_t copy(comityDeviceQueue_t handle, void* to, const void* from, uint64_t bytes, uint32_t way) {
  Queue& queue = of(handle);
  Memory& memory = queue.devices.memory();
  const auto target = way == COMITY_DEVICE_COPY_OUT ? std::nullopt : memory.find(to);
  const auto source = way == COMITY_DEVICE_COPY_IN ? std::nullopt : memory.find(from);
  if ((way != COMITY_DEVICE_COPY_OUT && !target) || (way != COMITY_DEVICE_COPY_IN && !source))
    return refuse(COMITY_DEVICE_INVALID, "copy: no memory of an OpenCL device");
  cl_event event = nullptr;
  if (way == COMITY_DEVICE_COPY_IN) {
    const cl_int error = cl().clEnqueueWriteBuffer(queue.queue, target->buffer, CL_FALSE, target->offset,
                                                   bytes, from, 0, nullptr, &event);
    return issued(queue, "clEnqueueWriteBuffer", error, event);
  }
  if (way == COMITY_DEVICE_COPY_OUT) {
    const cl_int error = cl().clEnqueueReadBuffer(queue.queue, source->buffer, CL_FALSE, source->offset,
                                                  bytes, to, 0, nullptr, &event);
    return issued(queue, "clEnqueueReadBuffer", error, event);
  }
  const cl_int error = cl().clEnqueueCopyBuffer(queue.queue, source->buffer, target->buffer, source->offset,
                                                target->offset, bytes, 0, nullptr, &event);
  return issued(queue, "clEnqueueCopyBuffer", error, event);
}

// --- reductions --------------------------------------------------------------------------------------------

constexpr uint64_t kGroupOfCpu = 1024;  // work items; more of them than a GPU likes, as each group is a call
constexpr uint64_t kGroupOfGpu = 256;

Result<cl_kernel> kernel_of(Queue& queue, uint32_t type, bool sum2) {
  cl_kernel& kernel = queue.kernels[type][sum2 ? 1 : 0];
  if (kernel != nullptr) return kernel;
  const std::string name = (sum2 ? "sum2_" : "reduce_") + std::string(kernel_name_of_type(type));
  cl_int error = CL_SUCCESS;
  cl_kernel const made = cl().clCreateKernel(queue.accelerator.program, name.c_str(), &error);
  if (error != CL_SUCCESS) return failed("clCreateKernel", error);
  kernel = made;
  return kernel;
}

// Sets arguments one after the other and remembers the first error.
class Arguments {
 public:
  explicit Arguments(cl_kernel kernel) : kernel_(kernel) {}
  template <typename T>
  void add(const T& value) {
    const cl_int error = cl().clSetKernelArg(kernel_, next_++, sizeof value, &value);
    if (error_ == CL_SUCCESS) error_ = error;
  }
  void add(const Place& place) {
    add(place.buffer);
    add(static_cast<cl_ulong>(place.offset));
  }
  cl_int error() const { return error_; }

 private:
  cl_kernel kernel_;
  cl_uint next_ = 0;
  cl_int error_ = CL_SUCCESS;
};

int32_t launch(Queue& queue, cl_kernel kernel, uint64_t count) {
  const size_t group =
      std::min<size_t>(queue.accelerator.is_cpu ? kGroupOfCpu : kGroupOfGpu, queue.accelerator.largest_group);
  const size_t items = (count + group - 1) / group * group;
  cl_event event = nullptr;
  const cl_int error =
      cl().clEnqueueNDRangeKernel(queue.queue, kernel, 1, nullptr, &items, &group, 0, nullptr, &event);
  return issued(queue, "clEnqueueNDRangeKernel", error, event);
}

int32_t reduce(comityDeviceQueue_t handle, const comityDeviceReduction* reduction) {
  Queue& queue = of(handle);
  if (reduction->source_count == 0 || reduction->source_count > kKernelSources ||
      reduction->type >= COMITY_DEVICE_TYPES || reduction->op >= COMITY_DEVICE_OPS)
    return refuse(COMITY_DEVICE_INVALID, "reduce: a type, an operation or a number of sources that is none");
  if (queue.accelerator.program == nullptr)
    return refuse(COMITY_DEVICE_UNSUPPORTED, "the kernels do not compile for this device");
  if (reduction->type == COMITY_DEVICE_FLOAT64 && !queue.accelerator.doubles)
    return refuse(COMITY_DEVICE_UNSUPPORTED, "the device has no double");
  const bool sum2 = reduction->source_count == 2 && reduction->op == COMITY_DEVICE_SUM &&
                    reduction->flags == 0 && reduction->divisor == 0;
  const Result<cl_kernel> kernel = kernel_of(queue, reduction->type, sum2);
  if (!kernel.ok()) return answer(kernel.status());
  const Memory& memory = queue.devices.memory();
  Arguments arguments(*kernel);
  for (uint32_t k = 0; k < (sum2 ? 2 : kKernelSources); ++k) {
    const auto source = memory.find(reduction->sources[k < reduction->source_count ? k : 0]);
    if (!source) return refuse(COMITY_DEVICE_INVALID, "reduce: a source is no memory of an OpenCL device");
    arguments.add(*source);
  }
  const auto destination = memory.find(reduction->destination);
  if (!destination)
    return refuse(COMITY_DEVICE_INVALID, "reduce: the destination is no memory of an OpenCL device");
  arguments.add(*destination);
  arguments.add(static_cast<cl_ulong>(reduction->count));
  if (!sum2) {
    for (const cl_uint value : {reduction->source_count, reduction->op, reduction->divisor, reduction->flags})
      arguments.add(value);
    arguments.add(static_cast<cl_ulong>(reduction->divided));
  }
  if (arguments.error() != CL_SUCCESS) return answer("clSetKernelArg", arguments.error());
  return launch(queue, *kernel, reduction->count);
}

// --- events ------------------------------------------------------------------------------------------------

int32_t event_create(uint32_t, comityDeviceEvent_t* event) {
  *event = reinterpret_cast<comityDeviceEvent_t>(new Event());
  return COMITY_DEVICE_OK;
}

void set(Event& event, cl_event marks) {
  if (event.event != nullptr) cl().clReleaseEvent(event.event);
  event.event = marks;
}

int32_t event_destroy(comityDeviceEvent_t event) {
  set(of(event), nullptr);
  delete &of(event);
  return COMITY_DEVICE_OK;
}

int32_t event_record(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  cl_event const last = of(queue).last;
  if (last != nullptr) cl().clRetainEvent(last);
  set(of(event), last);
  return last == nullptr ? int32_t{COMITY_DEVICE_OK} : answer("clFlush", cl().clFlush(of(queue).queue));
}

int32_t event_query(comityDeviceEvent_t event) {
  if (of(event).event == nullptr) return COMITY_DEVICE_OK;
  cl_int state = CL_QUEUED;
  const cl_int error =
      cl().clGetEventInfo(of(event).event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, nullptr);
  if (error != CL_SUCCESS) return answer("clGetEventInfo", error);
  if (state < 0) return answer("a command on the device", state);
  if (state != CL_COMPLETE) return COMITY_DEVICE_PENDING;
  // Returns at once. To have seen the state is no promise of seeing the memory; this is.
  return answer("clWaitForEvents", cl().clWaitForEvents(1, &of(event).event));
}

int32_t queue_wait(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  if (of(event).event == nullptr) return COMITY_DEVICE_OK;
  cl_event barrier = nullptr;
  const cl_int error = cl().clEnqueueBarrierWithWaitList(of(queue).queue, 1, &of(event).event, &barrier);
  return issued(of(queue), "clEnqueueBarrierWithWaitList", error, barrier);
}

// --- a user's command queues -------------------------------------------------------------------------------

int32_t queue_stream(comityDeviceQueue_t queue, void** stream) {
  *stream = of(queue).queue;
  return COMITY_DEVICE_OK;
}

int32_t stream_check(uint32_t device, void* stream) {
  if (stream == nullptr) return refuse(COMITY_DEVICE_INVALID, "NULL is no command queue");
  cl_device_id its = nullptr;
  const cl_int error = cl().clGetCommandQueueInfo(static_cast<cl_command_queue>(stream), CL_QUEUE_DEVICE,
                                                  sizeof its, static_cast<void*>(&its), nullptr);
  const auto accelerator = all().at(device);
  if (error != CL_SUCCESS || !accelerator.ok() || its != (*accelerator)->id)
    return refuse(COMITY_DEVICE_INVALID, "that is no command queue of this device");
  return COMITY_DEVICE_OK;
}

int32_t stream_record(uint32_t, void* stream, comityDeviceEvent_t event) {
  auto* const queue = static_cast<cl_command_queue>(stream);
  cl_event marker = nullptr;
  const cl_int error = cl().clEnqueueMarkerWithWaitList(queue, 0, nullptr, &marker);
  if (error != CL_SUCCESS) return answer("clEnqueueMarkerWithWaitList", error);
  set(of(event), marker);
  return answer("clFlush", cl().clFlush(queue));
}

int32_t stream_hold(uint32_t, void* stream, comityDeviceGate_t* gate) {
  auto* const queue = static_cast<cl_command_queue>(stream);
  cl_context context = nullptr;
  cl_int error = cl().clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context,
                                            static_cast<void*>(&context), nullptr);
  if (error != CL_SUCCESS) return answer("clGetCommandQueueInfo", error);
  cl_event const opened = cl().clCreateUserEvent(context, &error);
  if (error != CL_SUCCESS) return answer("clCreateUserEvent", error);
  error = cl().clEnqueueBarrierWithWaitList(queue, 1, &opened, nullptr);
  if (error != CL_SUCCESS) {
    cl().clSetUserEventStatus(opened, CL_COMPLETE);
    cl().clReleaseEvent(opened);
    return answer("clEnqueueBarrierWithWaitList", error);
  }
  *gate = reinterpret_cast<comityDeviceGate_t>(opened);
  return answer("clFlush", cl().clFlush(queue));
}

int32_t gate_open(comityDeviceGate_t gate) {
  auto* const opened = reinterpret_cast<cl_event>(gate);
  const cl_int error = cl().clSetUserEventStatus(opened, CL_COMPLETE);
  cl().clReleaseEvent(opened);
  return answer("clSetUserEventStatus", error);
}

comityDeviceTable make_table() {
  comityDeviceTable table{};
  table.size = sizeof table;
  table.abi = COMITY_DEVICE_ABI;
  table.name = "opencl";
  table.start = start;
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
  table.queue_stream = queue_stream;
  table.stream_check = stream_check;
  table.stream_record = stream_record;
  table.stream_hold = stream_hold;
  table.gate_open = gate_open;
  return table;
}

}  // namespace

const comityDeviceTable& table() {
  static const comityDeviceTable made = make_table();
  return made;
}

}  // namespace comity::opencl
