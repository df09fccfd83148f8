#include "src/device/dialect/dialect.h"

#include <fmt/core.h>

#include "src/base/shared_library.h"
#include "src/device/host/reduce_source.h"

namespace comity::dialect {
namespace {

constexpr const char* kPrelude = R"kernel(
#define KERNEL extern "C" __global__
#define FN static __device__ __forceinline__
#define GLOBAL
#define INDEX ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define HAS_F64
typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
#define AS_I32(v) __float_as_int(v)
#define AS_F32(v) __int_as_float(v)
#define AS_I64(v) __double_as_longlong(v)
#define AS_F64(v) __longlong_as_double(v)
#define DIVIDE_F32(a, b) __fdiv_rn(a, b)
)kernel";

// The first of the files that opens.
Result<SharedLibrary> open_first(const char* const* files, size_t count) {
  Status first;
  for (size_t i = 0; i < count && files[i] != nullptr; ++i) {
    auto opened = SharedLibrary::open(files[i]);
    if (opened.ok()) return opened;
    if (first.ok()) first = opened.status();
  }
  return first.ok() ? Status(Code::kUnsupported, "it has no library") : first;
}

// Finds functions by a prefix and a rest. What is required and missing is remembered.
class Finder {
 public:
  Finder(SharedLibrary& library, const char* prefix) : library_(library), prefix_(prefix) {}
  template <typename Function>
  Finder& required(Function& function, const char* rest) {
    const std::string name = std::string(prefix_) + rest;
    library_.find(function, name.c_str());
    if (function == nullptr && missing_.empty()) missing_ = name;
    return *this;
  }
  template <typename Function>
  Finder& optional(Function& function, const char* rest) {
    library_.find(function, (std::string(prefix_) + rest).c_str());
    return *this;
  }
  const std::string& missing() const { return missing_; }

 private:
  SharedLibrary& library_;
  const char* prefix_;
  std::string missing_;
};

void find_driver(Finder& find, Api& api) {
  find.required(api.device_count, "DeviceGetCount")
      .required(api.device_name, "DeviceGetName")
      .required(api.total_memory, "DeviceTotalMem_v2")
      .optional(api.pci_bus_id, "DeviceGetPCIBusId")
      .required(api.retain_context, "DevicePrimaryCtxRetain")
      .required(api.push_context, "CtxPushCurrent_v2")
      .required(api.pop_context, "CtxPopCurrent_v2")
      .required(api.context_device, "CtxGetDevice")
      .required(api.allocate, "MemAlloc_v2")
      .required(api.release, "MemFree_v2")
      .required(api.host_allocate, "MemHostAlloc")
      .required(api.host_release, "MemFreeHost")
      .required(api.host_address, "MemHostGetDevicePointer_v2")
      .required(api.copy_driver, "MemcpyAsync")
      .required(api.stream_create, "StreamCreate")
      .required(api.stream_destroy, "StreamDestroy_v2")
      .optional(api.wait_value_driver, "StreamWaitValue32_v2")
      .required(api.event_create, "EventCreate")
      .required(api.event_destroy, "EventDestroy_v2")
      .required(api.launch, "LaunchKernel")
      .required(api.error_text_driver, "GetErrorString");
}

void find_runtime(Finder& find, Api& api) {
  find.required(api.device_count, "GetDeviceCount")
      .required(api.device_name, "DeviceGetName")
      .required(api.total_memory, "DeviceTotalMem")
      .optional(api.pci_bus_id, "DeviceGetPCIBusId")
      .required(api.set_device, "SetDevice")
      .required(api.get_device, "GetDevice")
      .required(api.allocate, "Malloc")
      .required(api.release, "Free")
      .required(api.host_allocate, "HostMalloc")
      .required(api.host_release, "HostFree")
      .required(api.host_address, "HostGetDevicePointer")
      .required(api.copy_runtime, "MemcpyAsync")
      .required(api.stream_create, "StreamCreateWithFlags")
      .required(api.stream_destroy, "StreamDestroy")
      .optional(api.wait_value_runtime, "StreamWaitValue32")
      .required(api.event_create, "EventCreateWithFlags")
      .required(api.event_destroy, "EventDestroy")
      .required(api.launch, "ModuleLaunchKernel")
      .required(api.error_text_runtime, "GetErrorString");
}

std::string log_of(const Compiler& compiler, void* program) {
  size_t bytes = 0;
  if (compiler.log_size(program, &bytes) != 0 || bytes == 0) return "the compiler says nothing";
  std::string text(bytes, '\0');
  compiler.log(program, text.data());
  return text.c_str();
}

Result<Compiler> open_compiler(const Dialect& dialect) {
  if (dialect.compiler_prefix == nullptr)
    return Status(Code::kUnsupported, fmt::format("{}: no run-time compiler is known", dialect.name));
  auto library = open_first(dialect.compiler_libraries, std::size(dialect.compiler_libraries));
  if (!library.ok()) return library.status();
  Compiler compiler;
  Finder find(*library, dialect.compiler_prefix);
  find.required(compiler.create, "CreateProgram")
      .required(compiler.compile, "CompileProgram")
      .required(compiler.log_size, "GetProgramLogSize")
      .required(compiler.log, "GetProgramLog")
      .required(compiler.result_size, dialect.compiles_to_ptx ? "GetPTXSize" : "GetCodeSize")
      .required(compiler.result, dialect.compiles_to_ptx ? "GetPTX" : "GetCode")
      .required(compiler.destroy, "DestroyProgram");
  if (!find.missing().empty())
    return Status(Code::kUnsupported, fmt::format("the run-time compiler has no {}", find.missing()));
  return compiler;
}

}  // namespace

const std::vector<Dialect>& dialects() {
  static const std::vector<Dialect> all = {
      {"cuda",
       "NVIDIA, and makers whose driver has its names",
       "cu",
       Shape::kDriver,
       {"libcuda.so.1", nullptr, nullptr},
       "nvrtc",
       {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"},
       {"--fmad=false", "--ftz=false", "--prec-div=true"},
       true},
      {"hip",
       "AMD, Hygon",
       "hip",
       Shape::kRuntime,
       {"libamdhip64.so", "libamdhip64.so.6", "libamdhip64.so.5"},
       "hiprtc",
       {"libhiprtc.so", "libhiprtc.so.6", "libamdhip64.so", "libamdhip64.so.5"},
       {"-ffp-contract=off", "-fno-gpu-flush-denormals-to-zero", "-fhip-fp32-correctly-rounded-divide-sqrt"},
       false}};
  return all;
}

Result<Api> open_api(const Dialect& dialect) {
  auto library = open_first(dialect.libraries, std::size(dialect.libraries));
  if (!library.ok()) return Status(Code::kUnsupported, std::string(library.status().message()));
  Api api;
  Finder find(*library, dialect.prefix);
  find.required(api.init, "Init")
      .optional(api.driver_version, "DriverGetVersion")
      .optional(api.pointer_attribute, "PointerGetAttribute")
      .required(api.stream_wait_event, "StreamWaitEvent")
      .optional(api.stream_is_capturing, "StreamIsCapturing")
      .required(api.event_record, "EventRecord")
      .required(api.event_query, "EventQuery")
      .optional(api.module_load, "ModuleLoadData")
      .optional(api.module_function, "ModuleGetFunction");
  dialect.shape == Shape::kDriver ? find_driver(find, api) : find_runtime(find, api);
  if (find.missing().empty()) return api;
  return Status(Code::kUnsupported, fmt::format("the library of {} has no {}: it is too old, or too new",
                                                dialect.maker, find.missing()));
}

Result<std::string> compile_kernels(const Dialect& dialect) {
  COMITY_ASSIGN_OR_RETURN(const Compiler compiler, open_compiler(dialect));
  const std::string source = std::string(kPrelude) + std::string(reduce_source());
  void* program = nullptr;
  if (compiler.create(&program, source.c_str(), "comity_reductions", 0, nullptr, nullptr) != 0)
    return Status(Code::kUnhandledDeviceError, "the run-time compiler takes no program");
  int options = 0;
  while (options < 3 && dialect.compiler_options[options] != nullptr) ++options;
  size_t bytes = 0;
  Result<std::string> result = std::string();
  if (compiler.compile(program, options, dialect.compiler_options) != 0) {
    result = Status(Code::kUnhandledDeviceError,
                    fmt::format("the kernels do not compile: {}", log_of(compiler, program)));
  } else if (compiler.result_size(program, &bytes) != 0) {
    result = Status(Code::kUnhandledDeviceError, "the run-time compiler gives no result");
  } else {
    result->resize(bytes);
    compiler.result(program, result->data());
  }
  compiler.destroy(&program);
  return result;
}

}  // namespace comity::dialect
