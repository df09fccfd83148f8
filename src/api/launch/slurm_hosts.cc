#include "src/api/launch/slurm_hosts.h"

namespace comity::launch {

std::string first_host(std::string_view list) {
  std::string name;
  // A name may have several brackets, as rack[0-1]node[00-15]; after a comma outside of them is another host.
  while (!list.empty() && list.front() != ',') {
    if (list.front() == ']') return {};
    if (list.front() != '[') {
      name += list.front();
      list.remove_prefix(1);
      continue;
    }
    const size_t close = list.find(']');
    const std::string_view numbers = list.substr(1, close == std::string_view::npos ? 0 : close - 1);
    const std::string_view first = numbers.substr(0, numbers.find_first_of(",-"));
    if (close == std::string_view::npos || first.empty()) return {};
    name += first;
    list.remove_prefix(close + 1);
  }
  return name;
}

}  // namespace comity::launch
