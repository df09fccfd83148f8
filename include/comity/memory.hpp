// Memory that calls are fast on: allocated by the library, or the caller's own and registered. Both are
// ranges, and go into a call as they are.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "comity/comity.h"
#include "comity/expected.hpp"
#include "comity/handle.hpp"
#include "comity/types.hpp"

namespace comity {
inline namespace hpp {

// `size` elements that other ranks on this host reach directly: calls on it are the fastest. Movable; the
// destructor frees it, and no call may be using it then, on any rank that shares it. Not bound to a
// communicator.
template <Element T>
class Buffer {
 public:
  using value_type = T;

  // The elements' values are undefined. Any thread, does not block.
  // Errors: comityInvalidArgument (more bytes than size_t counts), comitySystemError (no memory).
  static Expected<Buffer> allocate(std::size_t size) {
    if (size > static_cast<std::size_t>(-1) / sizeof(T)) {
      return detail::refuse("Buffer::allocate: " + std::to_string(size) + " elements are too many bytes");
    }
    void* memory = nullptr;
    if (const comityResult_t made = comityMemAlloc(&memory, size * sizeof(T)); made != comitySuccess) {
      return detail::error_of(made);
    }
    return Buffer(static_cast<T*>(memory), size);
  }

  Buffer(Buffer&& other) noexcept : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  T* data() noexcept { return memory_.get(); }
  const T* data() const noexcept { return memory_.get(); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T* begin() noexcept { return data(); }
  T* end() noexcept { return data() + size_; }
  const T* begin() const noexcept { return data(); }
  const T* end() const noexcept { return data() + size_; }
  T& operator[](std::size_t index) { return data()[index]; }
  const T& operator[](std::size_t index) const { return data()[index]; }
  std::span<T> span() noexcept { return {data(), size_}; }
  std::span<const T> span() const noexcept { return {data(), size_}; }

 private:
  struct Free {
    void operator()(T* memory) const { comityMemFree(memory); }
  };
  Buffer(T* memory, std::size_t size) : memory_(memory), size_(size) {}
  std::unique_ptr<T, Free> memory_;
  std::size_t size_;
};

// Memory of the caller's own that was told to a communicator (Communicator::register_memory), as a range. The
// destructor takes the registration back, if the communicator still lives; the memory must outlive it.
// Movable.
template <Element T>
class Registration {
 public:
  using value_type = T;

  Registration(std::weak_ptr<detail::Handle> comm, std::span<T> memory, void* handle)
      : comm_(std::move(comm)), memory_(memory), handle_(handle) {}
  Registration(Registration&& other) noexcept
      : comm_(std::move(other.comm_)),
        memory_(other.memory_),
        handle_(std::exchange(other.handle_, nullptr)) {}
  Registration& operator=(Registration&& other) noexcept {
    std::swap(comm_, other.comm_);
    std::swap(memory_, other.memory_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Registration() {
    const auto comm = comm_.lock();
    if (handle_ != nullptr && comm != nullptr) comityCommDeregister(comm->comm(), handle_);
  }

  T* data() const noexcept { return memory_.data(); }
  std::size_t size() const noexcept { return memory_.size(); }
  T* begin() const noexcept { return data(); }
  T* end() const noexcept { return data() + size(); }
  T& operator[](std::size_t index) const { return memory_[index]; }
  std::span<T> span() const noexcept { return memory_; }

 private:
  std::weak_ptr<detail::Handle> comm_;
  std::span<T> memory_;
  void* handle_;
};

}  // namespace hpp
}  // namespace comity
