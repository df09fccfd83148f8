// Compiling the kernels, and keeping what was compiled.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/own_file.h"
#include "src/device/host/reduce_source.h"
#include "src/device/opencl/devices.h"

namespace comity::opencl {
namespace {

constexpr std::string_view kPrelude = R"kernel(
#pragma OPENCL FP_CONTRACT OFF
#ifdef COMITY_HAS_F64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define HAS_F64
#endif
#define KERNEL __kernel
#define FN
#define GLOBAL __global
#define INDEX ((u64)get_global_id(0))
typedef char i8;
typedef uchar u8;
typedef ushort u16;
typedef int i32;
typedef uint u32;
typedef long i64;
typedef ulong u64;
#define AS_I32(v) as_int(v)
#define AS_F32(v) as_float(v)
#define AS_I64(v) as_long(v)
#define AS_F64(v) as_double(v)
#ifdef COMITY_ROUNDED_DIVISION
#define DIVIDE_F32(a, b) ((a) / (b))
#else
#define DIVIDE_F32(a, b) ((float)((double)(a) / (double)(b)))
#endif
)kernel";

std::string options_of(const Accelerator& accelerator) {
  std::string options = "-cl-std=CL1.2";
  if (accelerator.rounds_division)
    options += " -cl-fp32-correctly-rounded-divide-sqrt -DCOMITY_ROUNDED_DIVISION";
  if (accelerator.doubles) options += " -DCOMITY_HAS_F64";
  return options;
}

std::string file_name(const Accelerator& accelerator, const std::string& options, const std::string& source) {
  const comityDeviceProperties& device = accelerator.properties;
  const uint64_t hash = Fnv().text(source).text(options).text(device.name).text(device.driver).value();
  return fmt::format("opencl-{:016x}.bin", hash);
}

Status built(const Library& cl, cl_program program, const Accelerator& accelerator,
             const std::string& options) {
  const cl_int error = cl.clBuildProgram(program, 1, &accelerator.id, options.c_str(), nullptr, nullptr);
  if (error == CL_SUCCESS) return {};
  std::string text(4096, '\0');
  size_t length = 0;
  cl.clGetProgramBuildInfo(program, accelerator.id, CL_PROGRAM_BUILD_LOG, text.size(), text.data(), &length);
  text.resize(std::min(text.size(), length));
  return failed("clBuildProgram", error).in(fmt::format("{}: {}", accelerator.properties.name, text.c_str()));
}

// What was kept; null where there is nothing that this driver takes.
cl_program from_file(const Library& cl, const Accelerator& accelerator, const std::string& options,
                     const std::string& path) {
  const std::string binary = read_own_file(path);
  if (binary.empty()) return nullptr;
  const size_t length = binary.size();
  const auto* bytes = reinterpret_cast<const unsigned char*>(binary.data());
  cl_int error = CL_SUCCESS;
  cl_program const program =
      cl.clCreateProgramWithBinary(accelerator.context, 1, &accelerator.id, &length, &bytes, nullptr, &error);
  if (error != CL_SUCCESS) return nullptr;
  if (built(cl, program, accelerator, options).ok()) return program;
  cl.clReleaseProgram(program);
  return nullptr;
}

void keep(const Library& cl, cl_program program, const std::string& folder, const std::string& name) {
  size_t length = 0;
  if (cl.clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof length, &length, nullptr) != CL_SUCCESS ||
      length == 0)
    return;
  std::string binary(length, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(binary.data());
  if (cl.clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, nullptr) != CL_SUCCESS) return;
  if (const Status written = write_own_file(folder, name, binary); !written.ok())
    COMITY_LOG_INFO("compiled kernels are not kept: {}", written.message());
}

}  // namespace

Result<cl_program> build_kernels(const Library& cl, const Accelerator& accelerator) {
  const std::string source = std::string(kPrelude) + std::string(reduce_source());
  const std::string options = options_of(accelerator);
  const std::string name = file_name(accelerator, options, source);
  const Result<std::string> folder = cache_folder("");
  if (folder.ok()) {
    if (cl_program kept = from_file(cl, accelerator, options, *folder + "/" + name)) return kept;
  }
  const char* text = source.c_str();
  cl_int error = CL_SUCCESS;
  cl_program const program = cl.clCreateProgramWithSource(accelerator.context, 1, &text, nullptr, &error);
  if (error != CL_SUCCESS) return failed("clCreateProgramWithSource", error);
  if (Status status = built(cl, program, accelerator, options); !status.ok()) {
    cl.clReleaseProgram(program);
    return status;
  }
  if (folder.ok()) keep(cl, program, *folder, name);
  return program;
}

}  // namespace comity::opencl
