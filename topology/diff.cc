#include "topology/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace comity::topology {
namespace {

using Kind = Difference::Kind;
using NodeKey = std::tuple<uint32_t, NodeKind, std::string>;
constexpr int64_t kNone = -1;

std::string bandwidth_text(uint64_t bytes_per_s) {
  if (bytes_per_s == 0) return "unknown";
  return fmt::format("{:.6g} GB/s", static_cast<double>(bytes_per_s) / 1e9);
}

std::string describe(const Node& node) {
  std::string text = fmt::format("{} {}", name_of(node.kind), node.id);
  if (!node.name.empty()) text += fmt::format(", {}", node.name);
  if (!node.bus_id.empty()) text += fmt::format(", {}", node.bus_id);
  return text;
}

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

class Comparison {
 public:
  Comparison(const Graph& before, const Graph& after)
      : before_(before),
        after_(after),
        to_after_(before.nodes.size(), kNone),
        to_before_(after.nodes.size(), kNone),
        host_to_before_(match_hosts(before, after)) {}

  std::vector<Difference> run() {
    match([](const Node& node) { return node.kind == NodeKind::kHost ? "host" : node.bus_id; });
    match([](const Node& node) { return node.name; });
    match(id_within_host);
    compare_nodes();
    gather(before_, before_links_, [](uint32_t node) { return int64_t{node}; });
    gather(after_, after_links_, [this](uint32_t node) { return to_before_[node]; });
    find_moves();
    compare_links();
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Difference& a, const Difference& b) { return a.kind < b.kind; });
    return std::move(found_);
  }

 private:
  struct Figures {
    uint64_t bytes_per_s = 0, latency_ns = 0;
    bool operator==(const Figures&) const = default;
  };
  // Ends by their nodes of `before_`. Parallel links are one.
  using Ends = std::tuple<uint32_t, uint32_t, LinkKind>;
  using Links = std::map<Ends, Figures>;

  template <typename Key>
  void match(const Key& key) {
    const auto mine = unique_by(before_, to_after_, key, [](uint32_t host) { return host; });
    const auto theirs =
        unique_by(after_, to_before_, key, [this](uint32_t host) { return host_to_before_.at(host); });
    for (const auto& [each, node] : mine) {
      const auto found = theirs.find(each);
      if (found == theirs.end()) continue;
      to_after_[node] = found->second;
      to_before_[found->second] = node;
    }
  }

  void add(Kind kind, std::string text) { found_.push_back({kind, std::move(text)}); }

  void compare_nodes() {
    for (uint32_t i = 0; i < before_.nodes.size(); ++i) {
      const Node& was = before_.nodes[i];
      if (to_after_[i] == kNone) {
        add(Kind::kMissing, describe(was));
        continue;
      }
      const Node& is = after_.nodes[static_cast<size_t>(to_after_[i])];
      if (was.kind == NodeKind::kHost) continue;
      if (was.bus_id != is.bus_id)
        add(Kind::kMoved, fmt::format("{} is at {}, was at {}", was.id, is.bus_id, was.bus_id));
      if (was.numa != is.numa)
        add(Kind::kMoved, fmt::format("{} is near NUMA domain {}, was near {}", was.id, is.numa, was.numa));
      if (was.name != is.name)
        add(Kind::kOther, fmt::format("{} is \"{}\", was \"{}\"", was.id, is.name, was.name));
    }
    for (uint32_t i = 0; i < after_.nodes.size(); ++i) {
      if (to_before_[i] == kNone) add(Kind::kAdded, describe(after_.nodes[i]));
    }
  }

  // Links between nodes that both graphs have.
  template <typename Map>
  void gather(const Graph& graph, Links& links, const Map& to_before) const {
    for (const Link& link : graph.links) {
      const int64_t from = to_before(link.from), to = to_before(link.to);
      if (from == kNone || to == kNone) continue;
      if (to_after_[static_cast<size_t>(from)] == kNone || to_after_[static_cast<size_t>(to)] == kNone)
        continue;
      Figures& figures = links[{static_cast<uint32_t>(from), static_cast<uint32_t>(to), link.kind}];
      figures.bytes_per_s += link.total_bytes_per_s();
      figures.latency_ns = std::max(figures.latency_ns, link.latency_ns);
    }
  }

  std::string id(uint32_t node) const { return before_.nodes[node].id; }

  // By node and kind, the other ends that `links` has and `others` has not.
  static std::map<std::pair<uint32_t, LinkKind>, std::vector<uint32_t>> only_in(const Links& links,
                                                                                const Links& others) {
    std::map<std::pair<uint32_t, LinkKind>, std::vector<uint32_t>> ends;
    for (const auto& [key, figures] : links) {
      const auto& [from, to, kind] = key;
      if (others.count(key) == 0) ends[{from, kind}].push_back(to);
    }
    return ends;
  }

  // A device or NIC that lost its one link of a kind and has another one: its place or its cable changed.
  void find_moves() {
    const auto lost = only_in(before_links_, after_links_), gained = only_in(after_links_, before_links_);
    for (const auto& [key, was] : lost) {
      const auto& [node, kind] = key;
      const NodeKind of = before_.nodes[node].kind;
      if (of != NodeKind::kDevice && of != NodeKind::kNic && of != NodeKind::kPcieSwitch) continue;
      if (kind != LinkKind::kPcie && kind != LinkKind::kC2c && !is_network(kind)) continue;
      const auto is = gained.find(key);
      if (was.size() != 1 || is == gained.end() || is->second.size() != 1) continue;
      // A switch that lost one of its children and got another has not moved itself.
      if (of == NodeKind::kPcieSwitch && is_leaf(was[0]) && is_leaf(is->second[0])) continue;
      add(Kind::kMoved,
          fmt::format("{}: {} to {}, was to {}", id(node), name_of(kind), id(is->second[0]), id(was[0])));
      for (uint32_t other : {was[0], is->second[0]}) {
        said_.insert({node, other, kind});
        said_.insert({other, node, kind});
      }
    }
  }

  bool is_leaf(uint32_t node) const {
    return before_.nodes[node].kind == NodeKind::kDevice || before_.nodes[node].kind == NodeKind::kNic;
  }

  static const Figures* find(const Links& links, const Ends& ends) {
    const auto found = links.find(ends);
    return found == links.end() ? nullptr : &found->second;
  }
  static bool equal(const Figures* a, const Figures* b) {
    return a == nullptr || b == nullptr ? a == b : *a == *b;
  }

  void compare_links() {
    Links all = before_links_;
    all.insert(after_links_.begin(), after_links_.end());
    for (const auto& [ends, any] : all) {
      if (said_.count(ends) > 0) continue;
      const auto& [from, to, kind] = ends;
      const Ends back{to, from, kind};
      const Figures *was = find(before_links_, ends), *is = find(after_links_, ends);
      const bool both = equal(was, find(before_links_, back)) && equal(is, find(after_links_, back));
      if (both && from > to) continue;  // said with the other direction
      const std::string name =
          fmt::format("{} {} {}: {}", id(from), both ? "-" : "->", id(to), name_of(kind));
      if (is == nullptr) {
        add(Kind::kMissing, fmt::format("{} {}", name, bandwidth_text(was->bytes_per_s)));
      } else if (was == nullptr) {
        add(Kind::kAdded, fmt::format("{} {}", name, bandwidth_text(is->bytes_per_s)));
      } else {
        compare_figures(name, *was, *is);
      }
    }
  }

  // Unknown figures (0) are not compared.
  void compare_figures(const std::string& name, const Figures& was, const Figures& is) {
    if (was.bytes_per_s != is.bytes_per_s && was.bytes_per_s != 0 && is.bytes_per_s != 0) {
      add(is.bytes_per_s < was.bytes_per_s ? Kind::kSlower : Kind::kFaster,
          fmt::format("{} {}, was {}", name, bandwidth_text(is.bytes_per_s),
                      bandwidth_text(was.bytes_per_s)));
    }
    if (was.latency_ns != is.latency_ns && was.latency_ns != 0 && is.latency_ns != 0) {
      add(is.latency_ns > was.latency_ns ? Kind::kSlower : Kind::kFaster,
          fmt::format("{} {} ns, was {} ns", name, is.latency_ns, was.latency_ns));
    }
  }

  const Graph &before_, &after_;
  std::vector<int64_t> to_after_, to_before_;  // the matching node of the other graph
  std::map<uint32_t, uint32_t> host_to_before_;
  Links before_links_, after_links_;
  std::set<Ends> said_;
  std::vector<Difference> found_;
};

}  // namespace

std::string_view name_of(Difference::Kind kind) {
  constexpr std::string_view kNames[] = {"missing", "slower", "moved", "other", "added", "faster"};
  return kNames[static_cast<size_t>(kind)];
}

std::vector<Difference> diff(const Graph& before, const Graph& after) {
  return Comparison(before, after).run();
}

}  // namespace comity::topology
