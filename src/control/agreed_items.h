// Named values that all ranks must have alike: their bytes, and the sentence about the first that differs.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/bytes.h"

namespace comity::control {

Bytes encode_items(std::span<const std::pair<std::string, std::string>> items);
// kInvalidUsage: names the lowest item, then the lowest rank, at which a rank differs from rank 0.
// `everyone`: by rank, as encode_items() made them, of which two differ. Every rank computes the same
// sentence.
Status first_difference(const std::vector<Bytes>& everyone);

}  // namespace comity::control
