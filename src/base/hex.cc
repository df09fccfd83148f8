#include "src/base/hex.h"

#include <fmt/core.h>

namespace comity {
namespace {

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::string to_hex(std::span<const std::byte> bytes) {
  std::string digits;
  digits.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) digits += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return digits;
}

Result<std::vector<std::byte>> from_hex(std::string_view digits) {
  std::vector<std::byte> bytes(digits.size() / 2);
  bool good = digits.size() % 2 == 0;
  for (size_t i = 0; i < bytes.size() && good; ++i) {
    const int high = digit_of(digits[2 * i]), low = digit_of(digits[2 * i + 1]);
    good = high >= 0 && low >= 0;
    bytes[i] = static_cast<std::byte>(high * 16 + low);
  }
  if (!good) return Status(Code::kInvalidArgument, "an id consists of the digits 0-9 and a-f");
  return bytes;
}

}  // namespace comity
