#include "src/api/launch/id_text.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/hex.h"

namespace comity::launch {

Result<control::UniqueId> id_from_hex(std::string_view digits) {
  control::UniqueId id{};
  if (digits.size() != 2 * id.size()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("an id has {} digits, this one {}", 2 * id.size(), digits.size()));
  }
  COMITY_ASSIGN_OR_RETURN(const auto bytes, from_hex(digits));
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

}  // namespace comity::launch
