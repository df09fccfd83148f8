// The words that JSON uses for a Plan's enumerations, in their order. Private to this folder.
#pragma once

#include <string_view>

namespace comity::plan {

inline constexpr std::string_view kKindNames[] = {"send", "recv", "copy", "reduce", "group"};
inline constexpr std::string_view kSpaceNames[] = {"input", "output", "scratch", "received"};
inline constexpr std::string_view kPlacementNames[] = {"both", "out_of_place", "in_place"};

}  // namespace comity::plan
