// Fixed-width little-endian bytes for everything that crosses a socket, with reads that cannot leave the
// buffer.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace comity {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian; add byte swaps for this machine");

using Bytes = std::vector<std::byte>;

// Appends fields to a growing buffer.
class ByteWriter {
 public:
  template <typename T>
  requires std::is_trivially_copyable_v<T> ByteWriter& put(const T& value) {
    const auto* raw = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof(T));
    return *this;
  }
  // Length (32 bits), then the bytes.
  ByteWriter& put_blob(std::span<const std::byte> blob) {
    put(static_cast<uint32_t>(blob.size()));
    bytes_.insert(bytes_.end(), blob.begin(), blob.end());
    return *this;
  }
  ByteWriter& put_text(std::string_view text) {
    return put_blob(std::as_bytes(std::span(text.data(), text.size())));
  }
  Bytes take() { return std::move(bytes_); }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

// Reads fields back. After the first short read every read yields zero and ok() is false: check once at the
// end.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  requires std::is_trivially_copyable_v<T> T get() {
    T value{};
    if (!take(sizeof(T))) return value;
    std::memcpy(&value, bytes_.data() + at_ - sizeof(T), sizeof(T));
    return value;
  }
  // A view into the buffer given to the constructor; empty if it would leave it.
  std::span<const std::byte> get_blob() {
    const auto length = get<uint32_t>();
    return take(length) ? bytes_.subspan(at_ - length, length) : std::span<const std::byte>();
  }
  std::string get_text() {
    auto blob = get_blob();
    return std::string(reinterpret_cast<const char*>(blob.data()), blob.size());
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && at_ == bytes_.size(); }
  size_t left() const { return bytes_.size() - at_; }

 private:
  bool take(size_t n) {
    if (!ok_ || n > bytes_.size() - at_) return ok_ = false;
    at_ += n;
    return true;
  }
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace comity
