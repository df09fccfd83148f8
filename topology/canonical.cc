// The canonical form and the hashes of a graph.
//
// Nodes are ordered by host, kind, NUMA domain, bus id and name, and where these are equal by their place in
// the structure: colours that take in the neighbours' colours round by round until they tell no more apart
// (B. Weisfeiler, A. Leman, 1968), and then one node at a time singled out and the colours refined again (as
// B. McKay's nauty does, without going back: nodes that colours cannot tell apart are taken as
// interchangeable).
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "src/base/hash.h"
#include "topology/graph.h"

namespace comity::topology {
namespace {

// Steps of refinement, counted in links looked at, after which nodes that are still alike keep their listed
// order.
constexpr uint64_t kMostWork = 400'000'000;

// A map's texts, in its order.
Fnv add(Fnv hash, const std::map<std::string, std::string>& values) {
  hash.number(values.size());
  for (const auto& [key, value] : values) hash.text(key).text(value);
  return hash;
}

// Numbers within texts compare as numbers: "mlx5_2" before "mlx5_10".
std::weak_ordering compare_naturally(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto run = [&](std::string_view text, size_t at) {
    size_t end = at;
    while (end < text.size() && is_digit(text[end])) ++end;
    return text.substr(at, end - at);
  };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      std::string_view x = run(a, i), y = run(b, j);
      i += x.size();
      j += y.size();
      x.remove_prefix(std::min(x.find_first_not_of('0'), x.size()));
      y.remove_prefix(std::min(y.find_first_not_of('0'), y.size()));
      if (x.size() != y.size()) return x.size() <=> y.size();
      if (const auto order = x.compare(y); order != 0) return order <=> 0;
      continue;
    }
    if (a[i] != b[j]) return a[i] <=> b[j];
    ++i;
    ++j;
  }
  if (const auto rest = (a.size() - i) <=> (b.size() - j); rest != 0) return rest;
  return a.compare(b) <=> 0;
}

// Hosts by their number, from 0.
std::map<uint32_t, uint32_t> host_numbers(const Graph& graph) {
  std::map<uint32_t, uint32_t> numbers;
  for (const Node& node : graph.nodes) {
    if (node.host != kNoHost) numbers[node.host] = 0;
  }
  uint32_t next = 0;
  for (auto& [host, number] : numbers) number = next++;
  numbers[kNoHost] = kNoHost;
  return numbers;
}

class Colours {
 public:
  // `initial`: by node, equal for what is not to be told apart but by structure.
  Colours(const Graph& graph, std::vector<uint64_t> initial) : graph_(graph), colour_(std::move(initial)) {}

  // Rounds until a round tells no more apart; false: out of work.
  bool refine() {
    size_t before = classes(colour_);
    while (before < colour_.size()) {
      if (work_ > kMostWork) return false;
      std::vector<uint64_t> next = round();
      const size_t after = classes(next);
      if (after <= before) break;
      colour_ = std::move(next);
      before = after;
    }
    return true;
  }
  void single_out(uint32_t node) { colour_[node] = Fnv().number(colour_[node]).number(~0u).value(); }
  uint64_t of(uint32_t node) const { return colour_[node]; }
  const std::vector<uint64_t>& all() const { return colour_; }

 private:
  static size_t classes(std::vector<uint64_t> colours) {
    std::sort(colours.begin(), colours.end());
    return static_cast<size_t>(std::unique(colours.begin(), colours.end()) - colours.begin());
  }
  // What each node sees of its neighbours; a sum, so that the order of links does not matter.
  std::vector<uint64_t> round() {
    std::vector<uint64_t> out(colour_.size()), in(colour_.size());
    for (const Link& link : graph_.links) {
      const uint64_t what = static_cast<uint64_t>(link.kind) << 32 | link.count;
      out[link.from] += Fnv().number(what).number(colour_[link.to]).value();
      in[link.to] += Fnv().number(what).number(colour_[link.from]).value();
    }
    work_ += graph_.links.size() + colour_.size();
    std::vector<uint64_t> next(colour_.size());
    for (size_t i = 0; i < next.size(); ++i)
      next[i] = Fnv().number(colour_[i]).number(out[i]).number(in[i]).value();
    return next;
  }

  const Graph& graph_;
  std::vector<uint64_t> colour_;
  uint64_t work_ = 0;
};

std::vector<uint64_t> structural_colours(const Graph& graph) {
  const auto hosts = host_numbers(graph);
  std::vector<uint64_t> colours;
  for (const Node& node : graph.nodes) {
    colours.push_back(Fnv()
                          .number(static_cast<uint64_t>(node.kind))
                          .number(hosts.at(node.host))
                          .number(static_cast<uint64_t>(static_cast<int64_t>(node.numa)))
                          .text(node.bus_id)
                          .text(node.vendor)
                          .value());
  }
  return colours;
}

std::weak_ordering compare_plainly(const Node& a, const Node& b) {
  const auto key = [](const Node& node) { return std::tuple(node.host, node.kind, node.numa); };
  if (const auto order = key(a) <=> key(b); order != 0) return order;
  if (const auto order = a.bus_id <=> b.bus_id; order != 0) return order;
  if (const auto order = compare_naturally(a.name, b.name); order != 0) return order;
  return std::tie(a.vendor, a.attributes) <=> std::tie(b.vendor, b.attributes);
}

// The nodes in order; those that nothing tells apart yet stand side by side, as one cell. A cell is only ever
// split where it stands, and a node that is singled out goes first in its cell: listed in the order found,
// the same nodes are singled out again, so that a canonical graph stays as it is.
class Cells {
 public:
  explicit Cells(const Graph& graph) : order_(graph.nodes.size()), cell_(graph.nodes.size()) {
    std::iota(order_.begin(), order_.end(), 0u);
    const auto compare = [&](uint32_t a, uint32_t b) {
      return compare_plainly(graph.nodes[a], graph.nodes[b]);
    };
    std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) { return compare(a, b) < 0; });
    number([&](uint32_t a, uint32_t b) { return compare(a, b) == 0; });
  }
  void split(const Colours& colours) {
    const auto key = [&](uint32_t node) { return std::pair(cell_[node], colours.of(node)); };
    std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
    number([&](uint32_t a, uint32_t b) { return key(a) == key(b); });
  }
  // The first node of the first cell of several, from now on a cell of its own; nothing: all are told apart.
  std::optional<uint32_t> single_out() {
    const auto found = std::adjacent_find(order_.begin(), order_.end(),
                                          [&](uint32_t a, uint32_t b) { return cell_[a] == cell_[b]; });
    if (found == order_.end()) return std::nullopt;
    const uint32_t cell = cell_[*found];
    for (auto it = found + 1; it != order_.end() && cell_[*it] == cell; ++it) cell_[*it] = cell + 1;
    return *found;
  }
  std::vector<uint32_t> take() && { return std::move(order_); }

 private:
  // A cell is called by the place where it begins.
  template <typename Alike>
  void number(const Alike& alike) {
    std::vector<uint32_t> next(cell_.size());
    for (uint32_t i = 0; i < order_.size(); ++i)
      next[order_[i]] = i > 0 && alike(order_[i - 1], order_[i]) ? next[order_[i - 1]] : i;
    cell_ = std::move(next);
  }

  std::vector<uint32_t> order_;
  std::vector<uint32_t> cell_;  // by node
};

// Node indices in canonical order.
std::vector<uint32_t> canonical_order(const Graph& graph) {
  std::vector<uint64_t> initial = structural_colours(graph);
  for (size_t i = 0; i < initial.size(); ++i)
    initial[i] = add(Fnv().number(initial[i]).text(graph.nodes[i].name), graph.nodes[i].attributes).value();
  Colours colours(graph, std::move(initial));
  Cells cells(graph);
  for (bool more = true; more;) {
    more = colours.refine();
    cells.split(colours);
    const std::optional<uint32_t> node = more ? cells.single_out() : std::nullopt;
    more = node.has_value();
    if (more) colours.single_out(*node);
  }
  return std::move(cells).take();
}

std::string_view id_stem(NodeKind kind) {
  switch (kind) {
    case NodeKind::kHost:
      return "";
    case NodeKind::kNuma:
      return "numa";
    case NodeKind::kPcieBridge:
      return "bridge";
    case NodeKind::kPcieSwitch:
      return "switch";
    case NodeKind::kDevice:
      return "gpu";
    case NodeKind::kNic:
      return "nic";
    case NodeKind::kNetSwitch:
      return "switch";
    case NodeKind::kVendorSwitch:
      return "vswitch";
  }
  return "node";
}

void give_ids(Graph& graph) {
  std::map<std::pair<uint32_t, NodeKind>, uint32_t> next;
  for (Node& node : graph.nodes) {
    const uint32_t number = next[{node.host, node.kind}]++;
    if (node.kind == NodeKind::kHost) {
      node.id = fmt::format("h{}", node.host);
    } else if (node.kind == NodeKind::kNetSwitch) {
      node.id = node.host == kNoHost ? fmt::format("net.switch{}", number)
                                     : fmt::format("h{}.net{}", node.host, number);
    } else {
      node.id = node.host == kNoHost ? fmt::format("net.{}{}", id_stem(node.kind), number)
                                     : fmt::format("h{}.{}{}", node.host, id_stem(node.kind), number);
    }
  }
}

}  // namespace

std::vector<uint32_t> canonicalize(Graph& graph) {
  const auto hosts = host_numbers(graph);
  for (Node& node : graph.nodes) node.host = hosts.at(node.host);
  const std::vector<uint32_t> order = canonical_order(graph);
  std::vector<uint32_t> place(order.size());
  std::vector<Node> nodes;
  nodes.reserve(order.size());
  for (uint32_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    nodes.push_back(std::move(graph.nodes[order[i]]));
  }
  graph.nodes = std::move(nodes);
  for (Link& link : graph.links) {
    link.from = place[link.from];
    link.to = place[link.to];
  }
  std::sort(graph.links.begin(), graph.links.end());
  give_ids(graph);
  return place;
}

uint64_t hash(const Graph& graph) {
  Fnv hash;
  hash.number(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    hash.text(node.id).number(static_cast<uint64_t>(node.kind)).text(node.name).number(node.host);
    hash.text(node.vendor).number(static_cast<uint64_t>(static_cast<int64_t>(node.numa))).text(node.bus_id);
    hash = add(hash, node.attributes);
  }
  hash.number(graph.links.size());
  for (const Link& link : graph.links) {
    hash.number(link.from).number(link.to).number(static_cast<uint64_t>(link.kind));
    hash.number(link.bandwidth_bytes_per_s).number(link.latency_ns).number(link.count);
    hash = add(hash.number(static_cast<uint64_t>(link.source)).text(link.shared), link.attributes);
  }
  return hash.value();
}

uint64_t structural_hash(const Graph& graph) {
  Colours colours(graph, structural_colours(graph));
  colours.refine();
  std::vector<uint64_t> all = colours.all();
  std::sort(all.begin(), all.end());
  Fnv hash;
  hash.number(graph.nodes.size()).number(graph.links.size());
  for (uint64_t colour : all) hash.number(colour);
  return hash.value();
}

}  // namespace comity::topology
