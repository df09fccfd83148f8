// Ranks for people: "2, 5-7".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace comity::control {

// The indexes at which `present` is false, as ranges; after 16 ranges "and N more". Empty if there are none.
std::string list_absent(const std::vector<bool>& present);

}  // namespace comity::control
