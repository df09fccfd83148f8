// A Notation into a Graph: the groups' machines side by side, the network between them, then what is broken.

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "topology/catalogue/caret.h"
#include "topology/catalogue/notation.h"

namespace comity::topology {
namespace {

// Copies `part` behind what is there; its hosts follow those there. Ids are left to canonicalize().
void append(Graph& graph, const Graph& part, uint32_t first_host, const std::string& unique) {
  const auto offset = static_cast<uint32_t>(graph.nodes.size());
  for (Node node : part.nodes) {
    node.id = unique + node.id;
    if (node.host != kNoHost) node.host += first_host;
    graph.add(std::move(node));
  }
  for (Link link : part.links) {
    link.from += offset;
    link.to += offset;
    if (!link.shared.empty()) link.shared = unique + link.shared;
    graph.add(std::move(link));
  }
}

uint64_t port_of(const Node& nic) {
  const auto found = nic.attributes.find("net.bandwidth_bytes_per_s");
  uint64_t bytes = 0;
  if (found != nic.attributes.end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), bytes);
  return bytes;
}

class Network {
 public:
  Network(Graph& graph, const Notation::Fabric& fabric) : graph_(graph), fabric_(fabric) {}

  void build() {
    const std::vector<uint32_t> nics = graph_.nodes_of(NodeKind::kNic);
    kind_ = kind_of(nics);
    uint32_t host = kNoHost, place = 0;
    for (uint32_t nic : nics) {
      const uint32_t home = graph_.nodes[nic].host;
      place = home == host ? place + 1 : 0;
      host = home;
      join_nic(nic, place);
    }
    if (fabric_.shape != Notation::Fabric::Shape::kFatTree) return;
    for (uint32_t spine = 0; spine < fabric_.switches; ++spine) {
      const uint32_t top = add_switch(fmt::format("spine{}", spine));
      for (const auto& [leaf, node] : switches_) graph_.join(link(node, top, kind_));
    }
  }

 private:
  // The name keeps the order when ids are given.
  uint32_t add_switch(const std::string& name) {
    Node node;
    node.id = "net." + name;
    node.kind = NodeKind::kNetSwitch;
    node.name = name;
    node.host = kNoHost;
    return graph_.add(std::move(node));
  }

  // One switch speaks one network. What the notation does not say follows from the NICs: what all of them
  // are, else RoCE, which InfiniBand's adapters speak too, else Ethernet.
  LinkKind kind_of(const std::vector<uint32_t>& nics) const {
    LinkKind kind = LinkKind::kEthernet;
    if (!fabric_.network.empty()) {
      parse(fabric_.network, kind);
      return kind;
    }
    bool is_first = true;
    for (uint32_t nic : nics) {
      LinkKind own = LinkKind::kEthernet;
      const auto found = graph_.nodes[nic].attributes.find("net.kind");
      if (found != graph_.nodes[nic].attributes.end()) parse(found->second, own);
      if (is_first) kind = own;
      is_first = false;
      if (own == kind) continue;
      kind =
          own == LinkKind::kEthernet || kind == LinkKind::kEthernet ? LinkKind::kEthernet : LinkKind::kRoce;
    }
    return kind;
  }

  // The speed is what a person says of the network: as good as a data sheet.
  Link link(uint32_t from, uint32_t to, LinkKind kind) const {
    Link link;
    link.from = from;
    link.to = to;
    link.kind = kind;
    link.bandwidth_bytes_per_s = fabric_.bandwidth_bytes_per_s;
    link.source = Source::kDataSheet;
    return link;
  }

  void join_nic(uint32_t nic, uint32_t place) {
    using Shape = Notation::Fabric::Shape;
    const uint32_t number = fabric_.shape == Shape::kRail ? place % fabric_.switches
                            : fabric_.shape == Shape::kFatTree
                                ? graph_.nodes[nic].host / fabric_.hosts_per_leaf
                                : 0;
    auto found = switches_.find(number);
    if (found == switches_.end()) {
      const char* stem = fabric_.shape == Shape::kRail      ? "rail"
                         : fabric_.shape == Shape::kFatTree ? "leaf"
                                                            : "switch";
      found = switches_.emplace(number, add_switch(fmt::format("{}{}", stem, number))).first;
    }
    Link cable = link(nic, found->second, kind_);
    const uint64_t port = port_of(graph_.nodes[nic]);
    if (port > 0) cable.bandwidth_bytes_per_s = std::min(cable.bandwidth_bytes_per_s, port);
    graph_.join(std::move(cable));
  }

  Graph& graph_;
  const Notation::Fabric& fabric_;
  std::map<uint32_t, uint32_t> switches_;  // by number: rails, or leaves
  LinkKind kind_ = LinkKind::kEthernet;
};

bool is_meant(const Graph& graph, const Link& link, uint32_t a, int64_t b) {
  const bool from = link.from == a, to = link.to == a;
  if (!from && !to) return false;
  if (b >= 0) return (from ? link.to : link.from) == static_cast<uint64_t>(b);
  return graph.nodes[a].kind == NodeKind::kNic ? is_network(link.kind) : joins_islands(link.kind);
}

// ~ says what is left of a link, so it never makes one faster. Of several, the slower ones stay.
template <typename Meant>
Status degrade(const Notation::Edit& edit, std::string_view text, const Meant& meant, Graph& graph) {
  uint64_t most = 0;
  bool is_known = true;
  for (const Link& link : graph.links) {
    if (!meant(link)) continue;
    most = std::max(most, link.total_bytes_per_s());
    is_known = is_known && link.bandwidth_bytes_per_s != 0;
  }
  if (is_known && edit.bandwidth_bytes_per_s > most) {
    return caret_error(
        text, edit.column,
        fmt::format(
            "~ says what is left of a link, and this one has {:.6g} GB/s, less than {:.6g}; what it has "
            "whole is said by the network's speed and {{nic_speed=...}}",
            static_cast<double>(most) / 1e9, static_cast<double>(edit.bandwidth_bytes_per_s) / 1e9));
  }
  for (Link& link : graph.links) {
    if (!meant(link)) continue;
    if (link.bandwidth_bytes_per_s != 0 && link.total_bytes_per_s() <= edit.bandwidth_bytes_per_s) continue;
    link.bandwidth_bytes_per_s = std::max<uint64_t>(1, edit.bandwidth_bytes_per_s / link.count);
    link.source = Source::kDataSheet;
  }
  return {};
}

Status apply(const Notation::Edit& edit, std::string_view text, Graph& graph) {
  const int64_t a = graph.find(edit.a), b = edit.b.empty() ? -1 : graph.find(edit.b);
  for (const auto& [id, node] : {std::pair{&edit.a, a}, std::pair{&edit.b, b}}) {
    if (node < 0 && !id->empty())
      return caret_error(
          text, edit.column,
          fmt::format("there is no node {}: hosts are h0 to h{}", *id, graph.host_count() - 1));
  }
  const NodeKind kind = graph.nodes[static_cast<size_t>(a)].kind;
  if (b < 0 && kind != NodeKind::kNic && kind != NodeKind::kDevice)
    return caret_error(text, edit.column, fmt::format("{} has many links: name both ends", edit.a));
  const auto meant = [&](const Link& link) { return is_meant(graph, link, static_cast<uint32_t>(a), b); };
  if (std::none_of(graph.links.begin(), graph.links.end(), meant)) {
    const std::string which = b >= 0                   ? fmt::format("between {} and {}", edit.a, edit.b)
                              : kind == NodeKind::kNic ? fmt::format("from {} into a network", edit.a)
                                                       : fmt::format("of a vendor's kind from {}", edit.a);
    return caret_error(text, edit.column, fmt::format("there is no link {}", which));
  }
  if (edit.bandwidth_bytes_per_s == 0) {
    graph.links.erase(std::remove_if(graph.links.begin(), graph.links.end(), meant), graph.links.end());
    return {};
  }
  return degrade(edit, text, meant, graph);
}

Result<Graph> hosts_of(const Notation& notation, std::string_view text) {
  Graph graph;
  uint32_t hosts = 0;
  for (const Notation::Group& group : notation.groups) {
    const Result<Machine> machine = find_machine(group.machine);
    if (!machine.ok()) return caret_error(text, group.column, machine.status().message());
    const Result<Graph> one = build_machine(*machine, group.variant);
    if (!one.ok()) return caret_error(text, group.column, one.status().message());
    if (uint64_t{hosts} + uint64_t{group.count} * machine->hosts > kMostNotationHosts)
      return caret_error(text, group.column, fmt::format("more than {} hosts in all", kMostNotationHosts));
    if (graph.nodes.size() + group.count * one->nodes.size() > kMostNotationNodes)
      return caret_error(text, group.column, fmt::format("more than {} nodes in all", kMostNotationNodes));
    if (graph.links.size() + group.count * one->links.size() > kMostNotationLinks)
      return caret_error(text, group.column, fmt::format("more than {} links in all", kMostNotationLinks));
    for (uint32_t i = 0; i < group.count; ++i, hosts += machine->hosts)
      append(graph, *one, hosts, fmt::format("{}:", hosts));
  }
  return graph;
}

}  // namespace

Result<Graph> graph_from_notation(std::string_view text) {
  COMITY_ASSIGN_OR_RETURN(const Notation notation, parse_notation(text));
  COMITY_ASSIGN_OR_RETURN(Graph graph, hosts_of(notation, text));
  if (notation.fabric.shape != Notation::Fabric::Shape::kNone) {
    const std::vector<uint32_t> nics = graph.nodes_of(NodeKind::kNic);
    if (nics.empty()) return caret_error(text, notation.fabric.column, "no host has a NIC for this network");
    if (notation.fabric.shape == Notation::Fabric::Shape::kFatTree &&
        uint64_t{notation.fabric.switches} * (1 + graph.host_count() / notation.fabric.hosts_per_leaf) >
            kMostNotationNodes)
      return caret_error(text, notation.fabric.column, "more than a million links among the switches");
    Network(graph, notation.fabric).build();
  }
  canonicalize(graph);
  for (const Notation::Edit& edit : notation.edits) COMITY_RETURN_IF_ERROR(apply(edit, text, graph));
  if (!notation.edits.empty()) canonicalize(graph);
  COMITY_RETURN_IF_ERROR(validate(graph));
  graph.origin = text;
  return graph;
}

}  // namespace comity::topology
