#include "topology/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "topology/diff_fields.h"
#include "topology/diff_match.h"

namespace comity::topology {
namespace {

using Kind = Difference::Kind;
constexpr int64_t kNone = Matching::kNone;

std::string describe(const Node& node) {
  std::string text = fmt::format("{} {}", name_of(node.kind), node.id);
  if (!node.name.empty()) text += fmt::format(", {}", node.name);
  if (!node.bus_id.empty()) text += fmt::format(", {}", node.bus_id);
  return text;
}

// By all that parallel links differ in; what their shared capacity is called is none of it.
std::weak_ordering compare(const Link& a, const Link& b) {
  const auto key = [](const Link& link) {
    return std::tuple(link.bandwidth_bytes_per_s, link.latency_ns, link.count, link.source,
                      link.shared.empty());
  };
  if (const auto order = key(a) <=> key(b); order != 0) return order;
  return a.attributes <=> b.attributes;
}

class Comparison {
 public:
  Comparison(const Graph& before, const Graph& after)
      : before_(before), after_(after), matching_(match_nodes(before, after)) {}

  std::vector<Difference> run() {
    compare_nodes();
    gather(before_, before_links_, [](uint32_t node) { return int64_t{node}; });
    gather(after_, after_links_, [this](uint32_t node) { return matching_.to_before[node]; });
    find_moves();
    compare_links();
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Difference& a, const Difference& b) { return a.kind < b.kind; });
    return std::move(found_);
  }

 private:
  // Ends by their nodes of `before_`.
  using Ends = std::tuple<uint32_t, uint32_t, LinkKind>;
  // Those that are parallel, in the order of the graph.
  using Bundle = std::vector<const Link*>;
  using Links = std::map<Ends, Bundle>;

  void add(Kind kind, std::string text) { found_.push_back({kind, std::move(text)}); }
  void add(std::vector<Difference> found) {
    found_.insert(found_.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  }

  void compare_nodes() {
    for (uint32_t i = 0; i < before_.nodes.size(); ++i) {
      if (matching_.to_after[i] == kNone) {
        add(Kind::kMissing, describe(before_.nodes[i]));
      } else {
        add(differences_of(before_.nodes[i], after_.nodes[static_cast<size_t>(matching_.to_after[i])]));
      }
    }
    for (uint32_t i = 0; i < after_.nodes.size(); ++i) {
      if (matching_.to_before[i] == kNone) add(Kind::kAdded, describe(after_.nodes[i]));
    }
  }

  // Links between nodes that both graphs have.
  template <typename Map>
  void gather(const Graph& graph, Links& links, const Map& to_before) const {
    for (const Link& link : graph.links) {
      const int64_t from = to_before(link.from), to = to_before(link.to);
      if (from == kNone || to == kNone) continue;
      if (matching_.to_after[static_cast<size_t>(from)] == kNone ||
          matching_.to_after[static_cast<size_t>(to)] == kNone)
        continue;
      links[{static_cast<uint32_t>(from), static_cast<uint32_t>(to), link.kind}].push_back(&link);
    }
  }

  std::string id(uint32_t node) const { return before_.nodes[node].id; }

  // By node and kind, the other ends that `links` has and `others` has not.
  static std::map<std::pair<uint32_t, LinkKind>, std::vector<uint32_t>> only_in(const Links& links,
                                                                                const Links& others) {
    std::map<std::pair<uint32_t, LinkKind>, std::vector<uint32_t>> ends;
    for (const auto& [key, bundle] : links) {
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
      compare_bundles(fmt::format("{} - {}: {}", id(node), id(is->second[0]), name_of(kind)),
                      find(before_links_, {node, was[0], kind}),
                      find(after_links_, {node, is->second[0], kind}), false);
      for (uint32_t other : {was[0], is->second[0]}) {
        said_.insert({node, other, kind});
        said_.insert({other, node, kind});
      }
    }
  }

  bool is_leaf(uint32_t node) const {
    return before_.nodes[node].kind == NodeKind::kDevice || before_.nodes[node].kind == NodeKind::kNic;
  }

  static const Bundle& find(const Links& links, const Ends& ends) {
    static const Bundle kNothing;
    const auto found = links.find(ends);
    return found == links.end() ? kNothing : found->second;
  }
  static bool equal(const Bundle& a, const Bundle& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Link* one, const Link* other) { return compare(*one, *other) == 0; });
  }

  void compare_links() {
    Links all = before_links_;
    all.insert(after_links_.begin(), after_links_.end());
    for (const auto& [ends, any] : all) {
      if (said_.count(ends) > 0) continue;
      const auto& [from, to, kind] = ends;
      const Ends back{to, from, kind};
      const Bundle &was = find(before_links_, ends), &is = find(after_links_, ends);
      const bool both = equal(was, find(before_links_, back)) && equal(is, find(after_links_, back));
      const std::string name =
          fmt::format("{} {} {}: {}", id(from), both ? "-" : "->", id(to), name_of(kind));
      compare_bundles(name, was, is, both && from > to);
    }
  }

  // Parallel links: those that are alike belong together, then the others in order. `said`: with the other
  // direction.
  void compare_bundles(const std::string& name, Bundle was, Bundle is, bool said) {
    if (said) return;
    const size_t parallel = std::max(was.size(), is.size());
    const auto before = [](const Link* a, const Link* b) { return compare(*a, *b) < 0; };
    for (Bundle* each : {&was, &is}) std::stable_sort(each->begin(), each->end(), before);
    Bundle only_was, only_is;
    for (size_t i = 0, j = 0; i < was.size() || j < is.size();) {
      if (j == is.size() || (i < was.size() && before(was[i], is[j]))) {
        only_was.push_back(was[i++]);
      } else if (i == was.size() || before(is[j], was[i])) {
        only_is.push_back(is[j++]);
      } else {
        compare_shared(name, *was[i++], *is[j++]);
      }
    }
    compare_rest(name, only_was, only_is, parallel);
  }

  void compare_rest(const std::string& name, const Bundle& was, const Bundle& is, size_t parallel) {
    const std::string one = parallel > 1 ? fmt::format(", one of {} that are parallel", parallel) : "";
    for (size_t i = 0; i < std::max(was.size(), is.size()); ++i) {
      if (i >= is.size()) {
        add(Kind::kMissing, fmt::format("{} {}{}", name, exact_figure(*was[i]), one));
      } else if (i >= was.size()) {
        add(Kind::kAdded, fmt::format("{} {}{}", name, exact_figure(*is[i]), one));
      } else {
        add(differences_of(name, *was[i], *is[i]));
        compare_shared(name, *was[i], *is[i]);
      }
    }
  }

  // What a capacity is called is nobody's business; who shares it is.
  void compare_shared(const std::string& name, const Link& was, const Link& is) {
    if (was.shared.empty() != is.shared.empty()) {
      add(Kind::kOther, fmt::format("{} {} its capacity with other links", name,
                                    is.shared.empty() ? "no longer shares" : "shares"));
    } else if (!was.shared.empty()) {
      const bool kept = shared_after_.emplace(was.shared, is.shared).first->second == is.shared &&
                        shared_before_.emplace(is.shared, was.shared).first->second == was.shared;
      if (!kept) add(Kind::kOther, fmt::format("{} shares its capacity with other links than before", name));
    }
  }

  const Graph &before_, &after_;
  const Matching matching_;
  Links before_links_, after_links_;
  std::set<Ends> said_;
  std::map<std::string, std::string> shared_after_, shared_before_;  // what a shared capacity is called there
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
