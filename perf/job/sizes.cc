#include "perf/job/sizes.h"

#include <fmt/core.h>

#include <cctype>
#include <cmath>
#include <cstdlib>

namespace comity::perf {
namespace {

constexpr std::string_view kSuffixes = "KMGT";

// log2 of what the suffix multiplies by, or -1.
int shift_of(std::string_view suffix) {
  if (suffix.empty() || suffix == "B" || suffix == "b") return 0;
  const size_t place = kSuffixes.find(static_cast<char>(std::toupper(static_cast<unsigned char>(suffix[0]))));
  if (place == std::string_view::npos) return -1;
  const std::string_view rest = suffix.substr(1);
  const bool known = rest.empty() || rest == "B" || rest == "b" || rest == "iB" || rest == "ib";
  return known ? 10 * static_cast<int>(place + 1) : -1;
}

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789.");
  const std::string number(text.substr(0, digits));
  const std::string_view suffix = digits == std::string_view::npos ? std::string_view() : text.substr(digits);
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  const int shift = shift_of(suffix);
  if (number.empty() || *end != '\0' || shift < 0) {
    return Status(Code::kInvalidArgument,
                  fmt::format("'{}' is no size: write bytes, or a number with K, M, G or T", text));
  }
  const double bytes = std::ldexp(value, shift);
  if (bytes > std::ldexp(1.0, 62)) {
    return Status(Code::kInvalidArgument, fmt::format("the size '{}' is too large", text));
  }
  return static_cast<uint64_t>(bytes);
}

std::string format_bytes(uint64_t bytes) {
  for (size_t place = kSuffixes.size(); place-- > 0;) {
    const int shift = 10 * static_cast<int>(place + 1);
    if (bytes != 0 && bytes % (uint64_t{1} << shift) == 0) {
      return fmt::format("{}{}", bytes >> shift, kSuffixes[place]);
    }
  }
  return fmt::format("{}", bytes);
}

}  // namespace comity::perf
