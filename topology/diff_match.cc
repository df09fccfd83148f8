#include "topology/diff_match.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>
#include <tuple>

namespace comity::topology {
namespace {

using NodeKey = std::tuple<uint32_t, NodeKind, std::string>;
constexpr int64_t kNone = Matching::kNone;

// "numa0" of "h1.numa0": the host's number is matched for itself.
std::string id_within_host(const Node& node) {
  return node.host == kNoHost ? node.id : node.id.substr(node.id.find('.') + 1);
}

// Hosts by a text that only one of them has.
std::map<std::string, uint32_t> hosts_by(const std::map<uint32_t, std::string>& texts) {
  std::map<std::string, int> counts;
  for (const auto& [host, text] : texts) ++counts[text];
  std::map<std::string, uint32_t> hosts;
  for (const auto& [host, text] : texts) {
    if (!text.empty() && counts[text] == 1) hosts[text] = host;
  }
  return hosts;
}

std::map<uint32_t, std::string> host_names(const Graph& graph) {
  std::map<uint32_t, std::string> names;
  for (uint32_t each : graph.nodes_of(NodeKind::kHost)) {
    const Node& host = graph.nodes[each];
    const auto found = host.attributes.find("hostname");
    names[host.host] = found == host.attributes.end() ? host.name : found->second;
  }
  return names;
}

// What is written on the NICs of each host: it stays when the host is renamed.
std::map<uint32_t, std::string> host_guids(const Graph& graph) {
  std::map<uint32_t, std::set<std::string>> parts;
  for (const Node& node : graph.nodes) {
    const auto found = node.attributes.find("guid");
    if (node.host != kNoHost && found != node.attributes.end()) parts[node.host].insert(found->second);
  }
  std::map<uint32_t, std::string> guids;
  for (const auto& [host, all] : parts) guids[host] = fmt::format("{}", fmt::join(all, " "));
  return guids;
}

std::map<uint32_t, std::string> host_numbers(const Graph& graph) {
  std::map<uint32_t, std::string> numbers;
  for (uint32_t each : graph.nodes_of(NodeKind::kHost))
    numbers[graph.nodes[each].host] = fmt::format("{}", graph.nodes[each].host);
  return numbers;
}

// For each host of `after` its number in `before`, or a number that no host has there. Hosts are the same by
// name, else by the GUIDs of their NICs, else by number.
std::map<uint32_t, uint32_t> match_hosts(const Graph& before, const Graph& after) {
  std::map<uint32_t, uint32_t> to_before;
  std::set<uint32_t> taken;
  const auto match = [&](const auto& mine, const auto& theirs) {
    for (const auto& [text, host] : mine) {
      const auto found = theirs.find(text);
      if (found == theirs.end() || taken.count(host) > 0 || to_before.count(found->second) > 0) continue;
      to_before[found->second] = host;
      taken.insert(host);
    }
  };
  match(hosts_by(host_names(before)), hosts_by(host_names(after)));
  match(hosts_by(host_guids(before)), hosts_by(host_guids(after)));
  match(hosts_by(host_numbers(before)), hosts_by(host_numbers(after)));
  uint32_t next = before.host_count();
  for (const auto& [number, host] : hosts_by(host_numbers(after))) {
    if (to_before.count(host) == 0) to_before[host] = next++;
  }
  return to_before;
}

// Nodes of a graph by what `key` makes of them, their hosts numbered by `host_of`; those of equal or empty
// keys are left out.
template <typename Key, typename HostOf>
std::map<NodeKey, uint32_t> unique_by(const Graph& graph, const std::vector<int64_t>& matched, const Key& key,
                                      const HostOf& host_of) {
  std::map<NodeKey, uint32_t> nodes;
  std::map<NodeKey, int> counts;
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const std::string text = key(node);
    if (matched[i] != kNone || text.empty()) continue;
    const NodeKey full{node.host == kNoHost ? kNoHost : host_of(node.host), node.kind, text};
    nodes[full] = i;
    ++counts[full];
  }
  for (const auto& [each, count] : counts) {
    if (count > 1) nodes.erase(each);
  }
  return nodes;
}

// Matches the nodes that `key` tells apart and that nothing has matched before.
template <typename Key>
void match_by(const Graph& before, const Graph& after, const std::map<uint32_t, uint32_t>& host_to_before,
              const Key& key, Matching& matching) {
  const auto mine = unique_by(before, matching.to_after, key, [](uint32_t host) { return host; });
  const auto theirs = unique_by(after, matching.to_before, key,
                                [&host_to_before](uint32_t host) { return host_to_before.at(host); });
  for (const auto& [each, node] : mine) {
    const auto found = theirs.find(each);
    if (found == theirs.end()) continue;
    matching.to_after[node] = found->second;
    matching.to_before[found->second] = node;
  }
}

}  // namespace

Matching match_nodes(const Graph& before, const Graph& after) {
  Matching matching{std::vector<int64_t>(before.nodes.size(), kNone),
                    std::vector<int64_t>(after.nodes.size(), kNone)};
  const std::map<uint32_t, uint32_t> hosts = match_hosts(before, after);
  const auto by_bus = [](const Node& node) { return node.kind == NodeKind::kHost ? "host" : node.bus_id; };
  match_by(before, after, hosts, by_bus, matching);
  match_by(
      before, after, hosts, [](const Node& node) { return node.name; }, matching);
  match_by(before, after, hosts, id_within_host, matching);
  return matching;
}

}  // namespace comity::topology
