// Runtimes that mirror CUDA's: what differs among them, so that a maker is a row and not a copy.
//
// Two shapes exist. "Driver" is the driver interface of CUDA: contexts, addresses as integers, names that end
// in _v2 where they were changed. "Runtime" is what HIP made of CUDA's runtime: a current device, addresses
// as pointers, kinds of copies. All functions of a row are a prefix and a common rest, but for the few that
// are named. Nothing of CUDA's own runtime library is used: it cannot be opened without its hidden tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::dialect {

enum class Shape : uint8_t { kDriver, kRuntime };

struct Dialect {
  const char* name;    // as COMITY_DEVICES has it
  const char* maker;   // for people
  const char* prefix;  // of functions: "cu", "hip"
  Shape shape;
  const char* libraries[3];           // tried in order
  const char* compiler_prefix;        // of the run-time compiler's functions; null: there is none
  const char* compiler_libraries[4];  // tried in order
  const char* compiler_options[3];    // no contraction, subnormals kept, divisions rounded correctly
  bool compiles_to_ptx;               // the compiler's result is "PTX", else "Code"
};

// All rows, by name.
const std::vector<Dialect>& dialects();

constexpr int kNotReady = 600;  // in every dialect

// The functions of one runtime under names of ours. Handles are void*, addresses of devices integers; what is
// absent is null.
struct Api {
  int (*init)(unsigned flags) = nullptr;
  int (*device_count)(int* count) = nullptr;
  int (*device_name)(char* name, int bytes, int device) = nullptr;
  int (*total_memory)(size_t* bytes, int device) = nullptr;
  int (*pci_bus_id)(char* id, int bytes, int device) = nullptr;
  int (*driver_version)(int* version) = nullptr;
  // The current device of a thread, by shape.
  int (*retain_context)(void** context, int device) = nullptr;
  int (*push_context)(void* context) = nullptr;
  int (*pop_context)(void** context) = nullptr;
  int (*context_device)(int* device) = nullptr;
  int (*set_device)(int device) = nullptr;
  int (*get_device)(int* device) = nullptr;
  // Memory.
  int (*allocate)(uint64_t* address, size_t bytes) = nullptr;
  int (*release)(uint64_t address) = nullptr;
  int (*host_allocate)(void** memory, size_t bytes, unsigned flags) = nullptr;
  int (*host_release)(void* memory) = nullptr;
  int (*host_address)(uint64_t* address, void* memory, unsigned flags) = nullptr;
  int (*pointer_attribute)(void* value, int attribute, uint64_t address) = nullptr;
  int (*copy_driver)(uint64_t to, uint64_t from, size_t bytes, void* stream) = nullptr;
  int (*copy_runtime)(void* to, const void* from, size_t bytes, int kind, void* stream) = nullptr;
  // Streams and events.
  int (*stream_create)(void** stream, unsigned flags) = nullptr;
  int (*stream_destroy)(void* stream) = nullptr;
  int (*stream_wait_event)(void* stream, void* event, unsigned flags) = nullptr;
  int (*stream_is_capturing)(void* stream, int* status) = nullptr;
  int (*wait_value_driver)(void* stream, uint64_t address, uint32_t value, unsigned flags) = nullptr;
  int (*wait_value_runtime)(void* stream, void* address, uint32_t value, unsigned flags,
                            uint32_t mask) = nullptr;
  int (*event_create)(void** event, unsigned flags) = nullptr;
  int (*event_record)(void* event, void* stream) = nullptr;
  int (*event_query)(void* event) = nullptr;
  int (*event_destroy)(void* event) = nullptr;
  // Kernels.
  int (*module_load)(void** module, const void* image) = nullptr;
  int (*module_function)(void** function, void* module, const char* name) = nullptr;
  int (*launch)(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** arguments,
                void** extra) = nullptr;
  // Errors, by shape.
  int (*error_text_driver)(int error, const char** text) = nullptr;
  const char* (*error_text_runtime)(int error) = nullptr;
};

// The run-time compiler's.
struct Compiler {
  int (*create)(void** program, const char* source, const char* name, int headers, const char* const* texts,
                const char* const* names) = nullptr;
  int (*compile)(void* program, int options, const char* const* texts) = nullptr;
  int (*log_size)(void* program, size_t* bytes) = nullptr;
  int (*log)(void* program, char* text) = nullptr;
  int (*result_size)(void* program, size_t* bytes) = nullptr;
  int (*result)(void* program, char* bytes) = nullptr;
  int (*destroy)(void** program) = nullptr;
};

// Opens a dialect's library and finds its functions. kUnsupported says which library or function is not here.
Result<Api> open_api(const Dialect& dialect);
// Compiles the reductions for the current device. kUnsupported: there is no compiler; kUnhandledDeviceError:
// what it says.
Result<std::string> compile_kernels(const Dialect& dialect);

}  // namespace comity::dialect
