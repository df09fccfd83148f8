// Stage by stage, from the nearest class to the farthest: in each, the widest path (E. W. Dijkstra's search
// with the narrowest link in place of the sum; M. Pollack, "The maximum capacity through a network", 1960)
// over the links and through the nodes that the class allows. A node keeps what the first stage that reached
// it found.
#include "topology/paths.h"

#include <algorithm>
#include <array>
#include <queue>
#include <tuple>

namespace comity::topology {
namespace {

constexpr std::array<std::string_view, 12> kClassNames = {"LOC", "NVL", "NVB", "C2C", "PIX", "PXB",
                                                          "P2C", "PXN", "PHB", "SYS", "NET", "DIS"};

// The place of a path on its way: the node, and whether it has passed the one node that its class counts.
struct Place {
  uint32_t node = 0;
  uint32_t passed = 0;  // 0 or 1
  uint32_t index() const { return node * 2 + passed; }
};

struct Best {
  uint64_t width = 0;  // 0: not reached
  uint32_t hops = 0;
  uint32_t link = 0, before = 0;  // the last link, and the index of the place it came from
};

// What one class allows.
class Stage {
 public:
  // `by_host`: also through a host's own node, which stands for ways between its NUMA domains that nobody
  // described.
  Stage(const Graph& graph, PathClass path_class, bool by_host, uint32_t from)
      : graph_(graph),
        class_(path_class),
        by_host_(by_host),
        from_nic_(graph.nodes[from].kind == NodeKind::kNic) {}

  bool allows(const Link& link, uint32_t passed) const {
    const bool vendor = joins_islands(link.kind);
    const bool pcie = link.kind == LinkKind::kPcie;
    switch (class_) {
      case PathClass::kNvl:
      case PathClass::kNvb:
        return vendor;
      case PathClass::kC2c:
        return link.kind == LinkKind::kC2c;
      case PathClass::kPix:
      case PathClass::kPxb:
      case PathClass::kPhb:
        return pcie;
      // The device's side and the NIC's, whichever end the path begins at.
      case PathClass::kP2c:
        return (passed == 1) == from_nic_ ? link.kind == LinkKind::kC2c : pcie;
      case PathClass::kPxn:
        return (passed == 1) == from_nic_ ? vendor : pcie;
      case PathClass::kSys:
        return !vendor && !is_network(link.kind);
      // Out of the host, through switches, into another: never out again through a host that is neither end.
      case PathClass::kNet:
        return !vendor && (passed == 0 || !is_network(link.kind) ||
                           graph_.nodes[link.from].kind == NodeKind::kNetSwitch);
      default:
        return false;
    }
  }

  // Whether a path may go on through this node, having passed so many of those that count; and what it has
  // then.
  bool passes(uint32_t node, uint32_t passed, uint32_t& then) const {
    const NodeKind kind = graph_.nodes[node].kind;
    then = passed;
    if (counts(kind)) {
      then = 1;
      return passed == 0;
    }
    switch (kind) {
      case NodeKind::kVendorSwitch:
        return class_ == PathClass::kNvl || class_ == PathClass::kNvb || class_ == PathClass::kPxn;
      case NodeKind::kPcieSwitch:
        return class_ >= PathClass::kPxb;
      case NodeKind::kPcieBridge:
        return class_ == PathClass::kP2c || class_ >= PathClass::kPhb;
      case NodeKind::kNuma:
        return class_ >= PathClass::kPhb;
      case NodeKind::kHost:
        return by_host_;
      case NodeKind::kNetSwitch:
        then = 1;
        return class_ == PathClass::kNet;
      case NodeKind::kNic:
        return class_ == PathClass::kNet;
      case NodeKind::kDevice:
        return false;
    }
    return false;
  }

  // Whether a node that this stage reached has a path of its class.
  bool ends_at(uint32_t node, uint32_t passed) const {
    const NodeKind kind = graph_.nodes[node].kind;
    if (class_ == PathClass::kP2c || class_ == PathClass::kPxn)
      return passed == 1 && kind == (from_nic_ ? NodeKind::kDevice : NodeKind::kNic);
    return true;
  }

 private:
  bool counts(NodeKind kind) const {
    switch (class_) {
      case PathClass::kNvb:
      case PathClass::kPxn:
        return kind == NodeKind::kDevice;
      case PathClass::kPix:
        return kind == NodeKind::kPcieSwitch;
      case PathClass::kP2c:
        return kind == NodeKind::kNuma;
      default:
        return false;
    }
  }

  const Graph& graph_;
  PathClass class_;
  bool by_host_;
  bool from_nic_;
};

uint64_t width_of(const Link& link) {
  return link.bandwidth_bytes_per_s == 0 ? UINT64_MAX : link.total_bytes_per_s();
}

class Search {
 public:
  Search(const Graph& graph, uint32_t from)
      : graph_(graph), from_(from), out_(links_out_of(graph)), found_(graph.nodes.size()) {
    found_[from].path_class = PathClass::kLoc;
    found_[from].bandwidth_bytes_per_s = UINT64_MAX;
  }

  std::vector<PathInfo> run() {
    for (auto c = static_cast<uint8_t>(PathClass::kNvl); c < static_cast<uint8_t>(PathClass::kDis); ++c) {
      const auto path_class = static_cast<PathClass>(c);
      run_stage(path_class, false);
      if (path_class >= PathClass::kPhb) run_stage(path_class, true);
    }
    return std::move(found_);
  }

 private:
  void run_stage(PathClass path_class, bool by_host) {
    const Stage stage(graph_, path_class, by_host, from_);
    best_.assign(graph_.nodes.size() * 2, {});
    // Wide before narrow, short before long, then by place: the same choice whoever computes it.
    using Entry = std::tuple<uint64_t, uint32_t, uint32_t>;  // UINT64_MAX - width, hops, index of the place
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
    const Place begin{from_, 0};
    best_[begin.index()] = {UINT64_MAX, 0, 0, begin.index()};
    queue.emplace(0, 0, begin.index());
    while (!queue.empty()) {
      const auto [narrowness, hops, index] = queue.top();
      queue.pop();
      const Best best = best_[index];
      if (best.width != UINT64_MAX - narrowness || best.hops != hops) continue;
      const Place place{index / 2, index % 2};
      uint32_t passed = place.passed;
      if (place.node != from_ && !stage.passes(place.node, place.passed, passed)) continue;
      for (uint32_t number : out_[place.node]) {
        const Link& link = graph_.links[number];
        if (link.to == from_ || !stage.allows(link, passed)) continue;
        const Place next{link.to, passed};
        const uint64_t width = std::min(best.width, width_of(link));
        Best& there = best_[next.index()];
        if (there.width > width || (there.width == width && there.hops <= hops + 1)) continue;
        there = {width, hops + 1, number, index};
        queue.emplace(UINT64_MAX - width, hops + 1, next.index());
      }
    }
    keep(stage, path_class);
  }

  void keep(const Stage& stage, PathClass path_class) {
    for (uint32_t node = 0; node < found_.size(); ++node) {
      if (found_[node].path_class != PathClass::kDis) continue;
      const Best* chosen = nullptr;
      for (uint32_t passed : {0u, 1u}) {
        const Best& best = best_[Place{node, passed}.index()];
        if (best.width == 0 || !stage.ends_at(node, passed)) continue;
        const bool better = chosen == nullptr || best.width > chosen->width ||
                            (best.width == chosen->width && best.hops < chosen->hops);
        if (better) chosen = &best;
      }
      if (chosen != nullptr) found_[node] = trace(*chosen, path_class);
    }
  }

  PathInfo trace(const Best& last, PathClass path_class) const {
    PathInfo path;
    path.path_class = path_class;
    path.bandwidth_bytes_per_s = last.width == UINT64_MAX ? 0 : last.width;
    path.hops = last.hops;
    for (const Best* at = &last; at->hops > 0; at = &best_[at->before]) {
      path.links.push_back(at->link);
      path.latency_ns += graph_.links[at->link].latency_ns;
    }
    std::reverse(path.links.begin(), path.links.end());
    return path;
  }

  const Graph& graph_;
  uint32_t from_;
  std::vector<std::vector<uint32_t>> out_;
  std::vector<PathInfo> found_;
  std::vector<Best> best_;
};

}  // namespace

std::string_view name_of(PathClass path_class) {
  return kClassNames[static_cast<size_t>(path_class)];
}

std::vector<PathInfo> paths_from(const Graph& graph, uint32_t from) {
  return Search(graph, from).run();
}

}  // namespace comity::topology
