// What memory of OpenCL devices this process knows: which buffer an address stands for.
//
// OpenCL names memory by cl_mem, Comity by address. Memory that is given out here has both: shared virtual
// memory with a buffer over it where the device has that, else addresses without access behind which lies a
// buffer. Buffers of a user's join by the second way, pointers of a user's by the first.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>

#include "comity/plugin/result.h"
#include "src/device/opencl/library.h"

namespace comity::opencl {

struct Place {
  cl_mem buffer = nullptr;
  uint64_t offset = 0;  // bytes into it
  uint32_t device = 0;
  uint64_t base = 0;  // the range's first address
  uint64_t bytes = 0;
};

class Memory {
 public:
  explicit Memory(const Library& cl) : cl_(cl) {}

  // `shared`: as shared virtual memory. kSystemError: there is none.
  Result<void*> allocate(cl_context context, uint32_t device, uint64_t bytes, bool shared);
  // Of allocate(); kInvalidArgument: it is none of that, or another device's.
  Status release(uint32_t device, void* pointer);
  // Gives a user's buffer of the context addresses; it is retained until forget(). kInvalidArgument: it is of
  // another context.
  Result<void*> name(cl_context context, cl_mem buffer, uint32_t device);
  // Puts a buffer over a user's shared virtual memory.
  Status adopt(cl_context context, uint32_t device, void* pointer, uint64_t bytes);
  // Of name() or adopt(): the user's memory stays. kInvalidArgument: it is none of those.
  Status forget(void* pointer);
  // Any thread; a shared lock.
  std::optional<Place> find(const void* pointer) const;

 private:
  enum class Kind { kShared, kBuffer, kNamed, kAdopted };
  struct Range {
    Kind kind;
    uint64_t bytes;
    cl_mem buffer;
    cl_context context;
    uint32_t device;
  };
  Result<cl_mem> buffer_over(cl_context context, uint64_t bytes, void* memory);
  void add(void* pointer, const Range& range);
  std::optional<Range> take(void* pointer, bool users, uint32_t device);

  const Library& cl_;
  mutable std::shared_mutex mutex_;
  std::map<uint64_t, Range> ranges_;  // by first address
};

}  // namespace comity::opencl
