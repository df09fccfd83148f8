// Calls whose partial results would show how often they are rounded, through the C API.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/comity.h"
#include "tests/support/rounding.h"

namespace comity::test {

// All types of 8 and 16 bits and operations, and one long enough for every path of shared memory.
std::vector<RoundingCase> rounding_cases(uint32_t nranks);

// All reductions of these, short and long. `roundings`: what is allowed of long blocks; short ones are
// rounded once. "" if every result of this rank is right, else the first that is not.
std::string run_rounding_rows(comityComm_t comm, uint32_t rank, const std::vector<RoundingCase>& cases,
                              uint32_t roundings);

}  // namespace comity::test
