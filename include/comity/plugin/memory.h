// Memory as transports get it: by reference, and what they made of it before.
#pragma once

#include <array>
#include <cstddef>

#include "comity/plugin/device.h"

namespace comity {

// What a transport made of memory that its hardware is to reach by itself: pinned pages, keys. It ends with
// this object, on any thread; the transport outlives it.
class Registration {
 public:
  virtual ~Registration() = default;
  // Whose memory it is; null: memory that the CPU addresses.
  virtual const Device* device() const { return nullptr; }
};

// Memory by reference; implicitly of a pointer to what the CPU addresses. That of a device is always
// registered. Two words, passed by value.
template <typename Byte>
struct MemoryReference {
  Byte* data = nullptr;
  const Registration* registration = nullptr;  // covers it, and is of the transport that gets it; null: none

  MemoryReference() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  MemoryReference(Byte* its_data, const Registration* its_registration = nullptr)
      : data(its_data), registration(its_registration) {}
};
using SourceMemory = MemoryReference<const std::byte>;
using TargetMemory = MemoryReference<std::byte>;

// Memory of this rank in words that a peer's end of the transport understands: address and keys.
struct RemoteMemory {
  std::array<std::byte, 48> words{};
};

}  // namespace comity
