#include "topology/import/ib_hosts.h"

#include <algorithm>
#include <map>
#include <set>

namespace comity::topology {

namespace {

bool has_digit(const std::string& text) {
  return text.find_first_of("0123456789") != std::string::npos;
}

// "node01" of "node01 mlx5_0": what the kernel's agent writes is two words, the second being a device. Empty:
// the description is another, such as a maker's.
std::string host_name_of(const std::string& description) {
  const size_t from = description.find_first_not_of(' ');
  const size_t blank = description.find(' ', from);
  if (from == std::string::npos || blank == std::string::npos) return {};
  const std::string host = description.substr(from, blank - from);
  const size_t second = description.find_first_not_of(' ', blank);
  if (second == std::string::npos) return {};
  const std::string device = description.substr(second, description.find_last_not_of(' ') + 1 - second);
  const bool part_number =
      host.size() > 2 && host.substr(0, 2) == "MT" &&
      std::all_of(host.begin() + 2, host.end(), [](char c) { return c >= '0' && c <= '9'; });
  return device.find(' ') == std::string::npos && has_digit(device) && !part_number ? host : std::string();
}

// The names of hosts that a description which several boards have begins with.
std::set<std::string> ambiguous_names(const std::vector<IbAdapter>& adapters) {
  std::map<std::string, std::string> guids;  // by description
  std::set<std::string> names;
  for (const IbAdapter& adapter : adapters) {
    const auto [found, fresh] = guids.emplace(adapter.name, adapter.guid);
    if (!fresh && found->second != adapter.guid) names.insert(host_name_of(adapter.name));
  }
  names.erase("");
  return names;
}

}  // namespace

IbHosts group_ib_hosts(const std::vector<IbAdapter>& adapters) {
  const std::set<std::string> ambiguous = ambiguous_names(adapters);
  std::vector<std::string> names;                         // of each adapter's host
  std::map<std::string, std::set<std::string>> by_board;  // the names on each
  std::map<std::string, size_t> descriptions;
  for (const IbAdapter& adapter : adapters) {
    names.push_back(host_name_of(adapter.name));
    if (ambiguous.count(names.back()) != 0) names.back().clear();
    if (!names.back().empty() && !adapter.system_guid.empty())
      by_board[adapter.system_guid].insert(names.back());
    ++descriptions[adapter.name];
  }
  IbHosts found;
  found.ambiguous.assign(ambiguous.begin(), ambiguous.end());
  std::map<std::string, uint32_t> hosts;  // by "name ..." or "board ..." or "adapter ..."
  for (size_t i = 0; i < adapters.size(); ++i) {
    const std::string& board = adapters[i].system_guid;
    const auto on_board = by_board.find(board);
    // An adapter without a name is where the one name of its board is.
    if (names[i].empty() && on_board != by_board.end() && on_board->second.size() == 1)
      names[i] = *on_board->second.begin();
    const bool alone = board.empty() || on_board != by_board.end();
    const std::string key = !names[i].empty() ? "name " + names[i]
                            : alone           ? "adapter " + adapters[i].guid
                                              : "board " + board;
    const auto [host, fresh] = hosts.emplace(key, static_cast<uint32_t>(found.hosts.size()));
    found.of_adapter.push_back(host->second);
    if (!fresh) continue;
    const std::string& guid = board.empty() ? adapters[i].guid : board;
    const std::string& other = descriptions[adapters[i].name] == 1 ? adapters[i].name : guid;
    found.hosts.push_back({names[i].empty() ? other : names[i], !names[i].empty()});
  }
  return found;
}

}  // namespace comity::topology
