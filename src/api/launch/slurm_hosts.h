// Slurm's lists of hosts.
#pragma once

#include <string>
#include <string_view>

namespace comity::launch {

// The first host of a list as "node[01-04,7],other": "node01". "" if the text is no such list.
std::string first_host(std::string_view list);

}  // namespace comity::launch
