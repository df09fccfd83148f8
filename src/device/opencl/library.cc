#include "src/device/opencl/library.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "src/base/shared_library.h"

namespace comity::opencl {
namespace {

struct Opened {
  Library functions;
  Status status;
};

Opened open_library() {
  Opened opened;
  auto found = SharedLibrary::open("libOpenCL.so.1");
  if (!found.ok()) {
    opened.status = Status(Code::kUnsupported,
                           fmt::format("{}: apt install ocl-icd-libopencl1, and a driver (for the CPU: "
                                       "pocl-opencl-icd)",
                                       found.status().message()));
    return opened;
  }
#define COMITY_OPENCL_FIND(name) found->find(opened.functions.name, #name);
  COMITY_OPENCL_FUNCTIONS(COMITY_OPENCL_FIND)
  if (!found->missing().empty()) {
    opened.status =
        Status(Code::kUnsupported, fmt::format("libOpenCL.so.1 has no {}: it is too old", found->missing()));
    return opened;
  }
  COMITY_OPENCL_FIND(clSVMAlloc)
  COMITY_OPENCL_FIND(clSVMFree)
#undef COMITY_OPENCL_FIND
  return opened;
}

}  // namespace

Result<const Library*> library() {
  static const Opened opened = open_library();
  if (!opened.status.ok()) return opened.status;
  return &opened.functions;
}

Status failed(const char* function, cl_int error) {
  constexpr std::pair<cl_int, const char*> kWords[] = {
      {CL_DEVICE_NOT_AVAILABLE, "the device is not available"},
      {CL_MEM_OBJECT_ALLOCATION_FAILURE, "no device memory"},
      {CL_OUT_OF_RESOURCES, "out of resources"},
      {CL_OUT_OF_HOST_MEMORY, "out of host memory"},
      {CL_BUILD_PROGRAM_FAILURE, "the kernels do not compile"},
      {CL_INVALID_VALUE, "invalid value"},
      {CL_INVALID_COMMAND_QUEUE, "no command queue"},
      {CL_INVALID_MEM_OBJECT, "no memory object"},
      {CL_INVALID_BUFFER_SIZE, "impossible size"}};
  const auto* const found = std::find_if(std::begin(kWords), std::end(kWords),
                                         [&](const auto& each) { return each.first == error; });
  const bool memory = error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_HOST_MEMORY ||
                      error == CL_INVALID_BUFFER_SIZE;
  return Status(
      memory ? Code::kSystemError : Code::kUnhandledDeviceError,
      fmt::format("{}: {} ({})", function, found == std::end(kWords) ? "failed" : found->second, error));
}

}  // namespace comity::opencl
