// The machines' files as they were when the library was built; the .cc is made by embed.cmake.
#pragma once

#include <string_view>
#include <vector>

namespace comity::topology {

struct EmbeddedMachine {
  std::string_view name;
  std::string_view json;
};
// Ascending by name.
std::vector<EmbeddedMachine> embedded_machines();

}  // namespace comity::topology
