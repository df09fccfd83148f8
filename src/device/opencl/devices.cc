#include "src/device/opencl/devices.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "src/base/log.h"
#include "src/device/host/reduce_source.h"

namespace comity::opencl {
namespace {

constexpr cl_device_info kPciBusInfo = 0x410F;  // cl_khr_pci_bus_info
constexpr cl_device_info kUuid = 0x106A;        // cl_khr_device_uuid
constexpr uint32_t kQueues = 4;

template <typename T>
T number_of(const Library& cl, cl_device_id device, cl_device_info what) {
  T value{};
  return cl.clGetDeviceInfo(device, what, sizeof value, &value, nullptr) == CL_SUCCESS ? value : T{};
}

template <size_t kBytes>
void put(char (&to)[kBytes], const std::string& text) {
  const size_t length = std::min(text.size(), kBytes - 1);
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
}

}  // namespace

std::string text_of(const Library& cl, cl_device_id device, cl_device_info what) {
  std::array<char, 512> text{};
  const bool good = cl.clGetDeviceInfo(device, what, text.size() - 1, text.data(), nullptr) == CL_SUCCESS;
  return good ? text.data() : "";
}

void Devices::describe(Accelerator& accelerator, cl_platform_id platform) const {
  cl_device_id const id = accelerator.id;
  std::array<char, 256> platform_name{};
  cl_.clGetPlatformInfo(platform, CL_PLATFORM_NAME, platform_name.size() - 1, platform_name.data(), nullptr);
  accelerator.platform = platform_name.data();
  accelerator.is_cpu = (number_of<cl_device_type>(cl_, id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
  accelerator.largest_group = std::max<size_t>(number_of<size_t>(cl_, id, CL_DEVICE_MAX_WORK_GROUP_SIZE), 1);
  const auto shared = number_of<cl_device_svm_capabilities>(cl_, id, CL_DEVICE_SVM_CAPABILITIES);
  accelerator.shared_memory = (shared & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER) != 0 &&
                              cl_.clSVMAlloc != nullptr && cl_.clSVMFree != nullptr;
  const auto floats = number_of<cl_device_fp_config>(cl_, id, CL_DEVICE_SINGLE_FP_CONFIG);
  accelerator.doubles = number_of<cl_device_fp_config>(cl_, id, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
  accelerator.rounds_division = (floats & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
  constexpr cl_device_fp_config kNeeded = CL_FP_DENORM | CL_FP_INF_NAN | CL_FP_ROUND_TO_NEAREST;

  comityDeviceProperties& properties = accelerator.properties;
  put(properties.name, text_of(cl_, id, CL_DEVICE_NAME));
  put(properties.driver, fmt::format("{} {}", accelerator.platform, text_of(cl_, id, CL_DRIVER_VERSION)));
  // Division in double rounds to the same float twice as once; without either it is not canonical.
  if ((floats & kNeeded) == kNeeded && (accelerator.rounds_division || accelerator.doubles))
    properties.flags |= COMITY_DEVICE_CANONICAL;
  std::array<cl_uint, 4> pci{};
  if (cl_.clGetDeviceInfo(id, kPciBusInfo, sizeof pci, pci.data(), nullptr) == CL_SUCCESS)
    put(properties.bus_id, fmt::format("{:04x}:{:02x}:{:02x}.{:x}", pci[0], pci[1], pci[2], pci[3]));
  if (cl_.clGetDeviceInfo(id, kUuid, sizeof properties.uuid, properties.uuid, nullptr) != CL_SUCCESS)
    std::memset(properties.uuid, 0, sizeof properties.uuid);
  properties.memory_bytes = number_of<cl_ulong>(cl_, id, CL_DEVICE_GLOBAL_MEM_SIZE);
  properties.compute_units = number_of<cl_uint>(cl_, id, CL_DEVICE_MAX_COMPUTE_UNITS);
  properties.queues = kQueues;
  properties.max_sources = kKernelSources;
}

Status Devices::find() {
  const std::lock_guard lock(mutex_);
  if (!all_.empty()) return {};
  std::array<cl_platform_id, 64> platforms{};
  cl_uint platform_count = 0;
  if (cl_.clGetPlatformIDs(platforms.size(), platforms.data(), &platform_count) != CL_SUCCESS)
    platform_count = 0;
  platform_count = std::min<cl_uint>(platform_count, platforms.size());
  for (cl_uint platform = 0; platform < platform_count; ++platform) {
    std::array<cl_device_id, 256> ids{};
    cl_uint count = 0;
    if (cl_.clGetDeviceIDs(platforms[platform], CL_DEVICE_TYPE_ALL, ids.size(), ids.data(), &count) !=
        CL_SUCCESS)
      continue;
    for (cl_uint device = 0; device < std::min<cl_uint>(count, ids.size()); ++device) {
      auto accelerator = std::make_unique<Accelerator>();
      accelerator->id = ids[device];
      describe(*accelerator, platforms[platform]);
      all_.push_back(std::move(accelerator));
    }
  }
  if (!all_.empty()) return {};
  return Status(Code::kUnsupported,
                platform_count == 0
                    ? "no OpenCL driver is installed (for the CPU: apt install pocl-opencl-icd)"
                    : fmt::format("the {} OpenCL platforms here have no device", platform_count));
}

Result<Accelerator*> Devices::at(uint32_t number) {
  if (number < all_.size()) return all_[number].get();
  return Status(Code::kInvalidArgument,
                fmt::format("there are {} OpenCL devices, and no number {}", all_.size(), number));
}

Status Devices::prepare(Accelerator& accelerator, bool kernels) {
  const std::lock_guard lock(accelerator.mutex);
  cl_int error = CL_SUCCESS;
  if (accelerator.context == nullptr) {
    accelerator.context = cl_.clCreateContext(nullptr, 1, &accelerator.id, nullptr, nullptr, &error);
    if (error != CL_SUCCESS) return failed("clCreateContext", error);
  }
  accelerator.in_use = true;
  if (!kernels || accelerator.program != nullptr) return {};
  const Result<cl_program> built = build_kernels(cl_, accelerator);
  if (built.ok())
    accelerator.program = *built;
  else
    COMITY_LOG_WARN("the host reduces for the OpenCL device {}: {}", accelerator.properties.name,
                    built.status().message());
  return {};
}

Status Devices::use_context(uint32_t number, cl_context context) {
  COMITY_ASSIGN_OR_RETURN(Accelerator * accelerator, at(number));
  const std::lock_guard lock(accelerator->mutex);
  if (accelerator->context == context) return {};
  if (accelerator->in_use) {
    return Status(Code::kInvalidUsage,
                  fmt::format("the OpenCL device {} ({}) is in use in another context: give yours before the "
                              "first communicator and the first memory of it",
                              number, accelerator->properties.name));
  }
  if (const cl_int error = cl_.clRetainContext(context); error != CL_SUCCESS)
    return failed("clRetainContext", error);
  if (accelerator->context != nullptr) cl_.clReleaseContext(accelerator->context);
  accelerator->context = context;
  return {};
}

// Never destroyed: drivers have threads of their own, which outlive statics.
Result<Devices*> devices() {
  COMITY_ASSIGN_OR_RETURN(const Library* cl, library());
  static Devices* const all = new Devices(*cl);
  return all;
}

}  // namespace comity::opencl
