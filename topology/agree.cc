#include "topology/agree.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "src/base/hash.h"
#include "topology/json.h"

namespace comity::topology {
namespace {

constexpr std::string_view kKept[] = {"net.kind", "net.bandwidth_bytes_per_s"};

// What a node is by, whoever lists it.
using Key = std::tuple<NodeKind, int32_t, std::string, std::string>;

Key key_of(const Node& node) {
  return {node.kind, node.bus_id.empty() ? node.numa : -1, node.bus_id, node.bus_id.empty() ? node.name : ""};
}

// Keys with a number for those that are alike, in canonical order.
std::vector<std::pair<Key, uint32_t>> keys_of(const Graph& graph) {
  std::map<Key, uint32_t> next;
  std::vector<std::pair<Key, uint32_t>> keys;
  for (const Node& node : graph.nodes) {
    Key key = key_of(node);
    const uint32_t number = next[key]++;
    keys.emplace_back(std::move(key), number);
  }
  return keys;
}

std::string describe(const Node& node) {
  std::string text = fmt::format("{} {}", name_of(node.kind), node.id);
  if (!node.name.empty()) text += fmt::format(" \"{}\"", node.name);
  if (!node.bus_id.empty()) text += fmt::format(" at {}", node.bus_id);
  return text;
}

// For each link of `mine` the one of `other` that is the same, or nullptr; `its`: by node of `mine` that of
// `other`, or -1. Of parallel links those with equal figures belong together, then the others in order.
std::vector<const Link*> partners(const Graph& mine, const Graph& other, const std::vector<int64_t>& its) {
  std::map<std::tuple<uint32_t, uint32_t, LinkKind>, std::vector<const Link*>> left;
  for (const Link& link : other.links) left[{link.from, link.to, link.kind}].push_back(&link);
  std::vector<const Link*> partner(mine.links.size(), nullptr);
  for (const bool equal : {true, false}) {
    for (size_t i = 0; i < mine.links.size(); ++i) {
      const Link& link = mine.links[i];
      if (partner[i] != nullptr || its[link.from] < 0 || its[link.to] < 0) continue;
      auto& parallel =
          left[{static_cast<uint32_t>(its[link.from]), static_cast<uint32_t>(its[link.to]), link.kind}];
      const auto found = std::find_if(parallel.begin(), parallel.end(), [&](const Link* each) {
        return !equal || each->total_bytes_per_s() == link.total_bytes_per_s();
      });
      if (found == parallel.end()) continue;
      partner[i] = *found;
      parallel.erase(found);
    }
  }
  return partner;
}

// The part of `mine` that `other` has too; links take the lesser figures. What is left out is told by `tell`.
template <typename Tell>
Graph common(const Graph& mine, const Graph& other, const Tell& tell) {
  const auto my_keys = keys_of(mine);
  const auto its_keys = keys_of(other);
  std::map<std::pair<Key, uint32_t>, uint32_t> its_node;
  for (uint32_t i = 0; i < its_keys.size(); ++i) its_node[its_keys[i]] = i;
  Graph both;
  std::vector<int64_t> kept(mine.nodes.size(), -1), its(mine.nodes.size(), -1);
  for (uint32_t i = 0; i < my_keys.size(); ++i) {
    const auto found = its_node.find(my_keys[i]);
    if (found == its_node.end()) {
      tell(describe(mine.nodes[i]));
      continue;
    }
    its[i] = found->second;
    kept[i] = both.add(mine.nodes[i]);
  }
  const std::vector<const Link*> partner = partners(mine, other, its);
  for (size_t i = 0; i < mine.links.size(); ++i) {
    const Link& link = mine.links[i];
    if (kept[link.from] < 0 || kept[link.to] < 0) continue;
    if (partner[i] == nullptr) {
      tell(fmt::format("{} link from {} to {}", name_of(link.kind), describe(mine.nodes[link.from]),
                       describe(mine.nodes[link.to])));
      continue;
    }
    const Link& there = *partner[i];
    Link less = there.total_bytes_per_s() < link.total_bytes_per_s() ? there : link;
    if (link.total_bytes_per_s() > there.total_bytes_per_s() && link.from < link.to) {
      tell(fmt::format("{} bytes/s of {} from {} to {}", link.total_bytes_per_s(), name_of(link.kind),
                       describe(mine.nodes[link.from]), describe(mine.nodes[link.to])));
    }
    less.from = static_cast<uint32_t>(kept[link.from]);
    less.to = static_cast<uint32_t>(kept[link.to]);
    both.add(std::move(less));
  }
  return both;
}

class Agreement {
 public:
  Agreement(std::span<const View> views, const std::vector<uint32_t>& group_of_rank)
      : views_(views), group_of_rank_(group_of_rank) {}

  Result<Agreed> run() {
    COMITY_RETURN_IF_ERROR(read());
    const uint32_t groups =
        group_of_rank_.empty() ? 0 : *std::max_element(group_of_rank_.begin(), group_of_rank_.end()) + 1;
    std::vector<std::vector<uint32_t>> ranks(groups);
    for (uint32_t rank = 0; rank < group_of_rank_.size(); ++rank) ranks[group_of_rank_[rank]].push_back(rank);
    for (uint32_t group = 0; group < groups; ++group) {
      COMITY_ASSIGN_OR_RETURN(const Graph host, host_of(ranks[group]));
      append(host, group);
    }
    return std::move(agreed_);
  }

 private:
  Status read() {
    for (uint32_t rank = 0; rank < views_.size(); ++rank) {
      const View& view = views_[rank];
      if (view.text.empty()) continue;
      const std::string origin = fmt::format("the topology that rank {} sees", rank);
      if (digest_of(view.text) != view.digest) {
        return Status(Code::kRemoteError,
                      fmt::format("{} came damaged; does this rank run another version?", origin));
      }
      COMITY_ASSIGN_OR_RETURN(Graph graph, from_json(view.text, origin));
      if (graph.host_count() != 1) {
        return Status(Code::kInvalidArgument,
                      fmt::format("{} has {} hosts; a rank describes its own machine only", origin,
                                  graph.host_count()));
      }
      seen_.emplace(view.digest, std::move(graph));
    }
    return {};
  }

  // What all ranks of one group see.
  Result<Graph> host_of(const std::vector<uint32_t>& ranks) {
    std::set<uint64_t> done;
    Graph host;
    for (uint32_t rank : ranks) {
      const auto found = seen_.find(views_[rank].digest);
      if (found == seen_.end()) {
        return Status(Code::kRemoteError, fmt::format("nobody sent the topology that rank {} sees", rank));
      }
      if (!done.insert(found->first).second) continue;
      if (host.nodes.empty()) {
        host = found->second;
        continue;
      }
      host = both(host, found->second, ranks.front(), rank);
      if (Status status = validate(host); !status.ok()) {
        return Status(Code::kInvalidUsage,
                      fmt::format("ranks {} and {} share a machine and see nothing in common: {}",
                                  ranks.front(), rank, status.message()));
      }
      canonicalize(host);
    }
    return host;
  }

  Graph both(const Graph& mine, const Graph& other, uint32_t rank, uint32_t differing) {
    Graph shared = common(mine, other, [&](const std::string& what) {
      agreed_.differences.push_back(
          fmt::format("rank {} sees {} and rank {} of the same host does not", rank, what, differing));
    });
    common(other, mine, [&](const std::string& what) {
      agreed_.differences.push_back(
          fmt::format("rank {} sees {} and rank {} of the same host does not", differing, what, rank));
    });
    return shared;
  }

  void append(const Graph& host, uint32_t group) {
    Graph& graph = agreed_.graph;
    const auto base = static_cast<uint32_t>(graph.nodes.size());
    for (const Node& node : host.nodes) {
      if (node.kind == NodeKind::kHost)
        agreed_.host_node.push_back(static_cast<uint32_t>(graph.nodes.size()));
      const uint32_t index = graph.add(node);
      graph.nodes[index].id.clear();
      if (node.host != kNoHost) graph.nodes[index].host = group;
    }
    for (const Link& link : host.links) {
      graph.add(link);
      graph.links.back().from += base;
      graph.links.back().to += base;
      graph.links.back().shared = shared_on_host(link.shared, group);
    }
  }

  std::span<const View> views_;
  const std::vector<uint32_t>& group_of_rank_;
  std::map<uint64_t, Graph> seen_;
  Agreed agreed_;
};

}  // namespace

Graph anonymous(const Graph& graph) {
  Graph plain = graph;
  plain.origin.clear();
  for (Node& node : plain.nodes) {
    if (node.kind == NodeKind::kHost) node.name.clear();
    std::erase_if(node.attributes, [](const auto& attribute) {
      return std::find(std::begin(kKept), std::end(kKept), attribute.first) == std::end(kKept);
    });
  }
  for (Link& link : plain.links) link.attributes.clear();
  canonicalize(plain);
  return plain;
}

uint64_t digest_of(const std::string& text) {
  return fnv(text);
}

bool sends_text(std::span<const uint64_t> digest_of_rank, uint32_t rank) {
  const auto lower = digest_of_rank.first(rank);
  return std::find(lower.begin(), lower.end(), digest_of_rank[rank]) == lower.end();
}

Result<Agreed> agree(std::span<const View> views, const std::vector<uint32_t>& group_of_rank) {
  return Agreement(views, group_of_rank).run();
}

}  // namespace comity::topology
