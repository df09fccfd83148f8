// Limits that every Plan keeps, and the checks that need no execution. Private to this folder.
#pragma once

#include <cstdint>
#include <optional>

#include "src/plan/plan.h"
#include "src/plan/verify.h"

namespace comity::plan {

inline constexpr uint32_t kMostRanks = 1u << 20;
inline constexpr uint32_t kMostChunks = 1u << 16;
inline constexpr uint32_t kMostWeight = 1u << 16;
inline constexpr uint32_t kMostSlots = 1u << 16;

// Blocks that this very rank has: only the root has a reduce's output and a broadcast's input (a caller may
// pass null elsewhere), so a plan must not touch them on other ranks.
uint32_t rank_input_blocks(const Shape& shape, uint32_t rank);
uint32_t rank_output_blocks(const Shape& shape, uint32_t rank);

// The first number of a shape that is out of range (rule "bounds", rank, lane and step 0).
std::optional<Violation> check_shape(const Shape& shape);

}  // namespace comity::plan
