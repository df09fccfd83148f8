#include "topology/import/class_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace comity::topology {

namespace {

class Groups {
 public:
  explicit Groups(size_t size) : up_(size) { std::iota(up_.begin(), up_.end(), size_t{0}); }
  size_t of(size_t at) const {
    while (up_[at] != at) at = up_[at];
    return at;
  }
  void join(size_t a, size_t b) {
    a = of(a), b = of(b);
    up_[std::max(a, b)] = std::min(a, b);
  }
  size_t members(size_t group) const {
    size_t count = 0;
    for (size_t i = 0; i < up_.size(); ++i) count += of(i) == group ? 1 : 0;
    return count;
  }

 private:
  std::vector<size_t> up_;
};

class Builder {
 public:
  explicit Builder(const ClassMatrix& matrix)
      : matrix_(matrix), size_(matrix.devices.size()), pix_(size_), pxb_(size_), domains_(size_) {}
  Result<Graph> build();

 private:
  Status check() const;
  Status group();
  bool parted(size_t a, size_t b) const;
  void add_domains();
  void add_devices();
  void add_vendor_links();
  uint32_t parent_of(size_t device);
  void join_pcie(uint32_t child, uint32_t parent);
  Status contradiction(size_t a, size_t b, const char* what) const {
    return {Code::kInvalidArgument,
            fmt::format("{} and {} {}", matrix_.devices[a].node.name, matrix_.devices[b].node.name, what)};
  }

  const ClassMatrix& matrix_;
  size_t size_;
  Groups pix_, pxb_, domains_;
  Graph graph_;
  std::map<size_t, uint32_t> numas_, uppers_, lowers_;  // nodes by group
  std::vector<uint32_t> nodes_;
};

Status Builder::check() const {
  for (size_t i = 0; i < size_; ++i) {
    for (size_t j = 0; j < i; ++j) {
      const auto &one = matrix_.at(i, j), &other = matrix_.at(j, i);
      if (one.nearness != other.nearness || one.links != other.links)
        return contradiction(j, i, "are not as near in both directions");
      if (one.nearness == Nearness::kSelf) return contradiction(j, i, "are told to be one device");
    }
  }
  return {};
}

// Whether some member of one's domain is SYS from some member of the other's.
bool Builder::parted(size_t a, size_t b) const {
  for (size_t i = 0; i < size_; ++i) {
    if (domains_.of(i) != domains_.of(a)) continue;
    for (size_t j = 0; j < size_; ++j) {
      if (domains_.of(j) == domains_.of(b) && matrix_.at(i, j).nearness == Nearness::kSys) return true;
    }
  }
  return false;
}

Status Builder::group() {
  for (size_t i = 0; i < size_; ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Nearness nearness = matrix_.at(i, j).nearness;
      if (nearness == Nearness::kPix) pix_.join(i, j);
      if (nearness == Nearness::kPix || nearness == Nearness::kPxb) pxb_.join(i, j);
      if (nearness >= Nearness::kPix && nearness <= Nearness::kPhb) domains_.join(i, j);
    }
  }
  for (size_t i = 0; i < size_; ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Nearness nearness = matrix_.at(i, j).nearness;
      if (nearness == Nearness::kVendorLink || nearness == Nearness::kUnknown)
        continue;  // they hide the class over PCIe
      if (nearness > Nearness::kPix && pix_.of(i) == pix_.of(j))
        return contradiction(j, i, "are near one switch and not near each other");
      if (nearness > Nearness::kPxb && pxb_.of(i) == pxb_.of(j))
        return contradiction(j, i, "are near one switch and not near each other");
      if (nearness == Nearness::kSys && domains_.of(i) == domains_.of(j))
        return contradiction(j, i, "are SYS, but both near a third");
    }
  }
  std::map<std::string, std::vector<size_t>> named;
  for (size_t i = 0; i < size_; ++i) {
    const std::string& name = matrix_.devices[i].domain;
    if (name.empty()) continue;
    for (const size_t other : named[name]) {
      if (domains_.of(i) != domains_.of(other) && !parted(i, other)) domains_.join(i, other);
    }
    named[name].push_back(i);
  }
  return {};
}

void Builder::add_domains() {
  std::set<int32_t> used;
  std::vector<std::pair<size_t, int32_t>> wanted;
  for (size_t i = 0; i < size_; ++i) {
    const size_t group = domains_.of(i);
    const auto found =
        std::find_if(wanted.begin(), wanted.end(), [&](const auto& entry) { return entry.first == group; });
    if (found == wanted.end()) {
      wanted.emplace_back(group, matrix_.devices[i].numa);
    } else if (found->second < 0) {
      found->second = matrix_.devices[i].numa;
    }
  }
  for (auto& [group, number] : wanted) {
    if (number >= 0 && !used.insert(number).second) number = -1;
  }
  Node host;
  const uint32_t host_index = graph_.add(std::move(host));
  for (auto& [group, number] : wanted) {
    for (int32_t next = 0; number < 0; ++next) {
      if (used.insert(next).second) number = next;
    }
    Node numa;
    numa.kind = NodeKind::kNuma;
    numa.numa = number;
    const uint32_t index = graph_.add(std::move(numa));
    Link link;
    link.kind = LinkKind::kMemory;
    link.from = host_index, link.to = index;
    graph_.join(link);
    link.kind = LinkKind::kCpu;
    for (const auto& entry : numas_) {
      link.from = entry.second;
      graph_.join(link);
    }
    numas_.emplace(group, index);
  }
}

void Builder::join_pcie(uint32_t child, uint32_t parent) {
  Link link;
  link.kind = LinkKind::kPcie;
  link.from = child, link.to = parent;
  graph_.join(std::move(link));
}

// A switch for those of one PIX, above it one for those of one PXB; a device alone hangs off its domain.
uint32_t Builder::parent_of(size_t device) {
  const uint32_t numa = numas_.at(domains_.of(device));
  const auto make = [&](uint32_t above) {
    Node node;
    node.kind = NodeKind::kPcieSwitch;
    node.numa = graph_.nodes[numa].numa;
    const uint32_t index = graph_.add(std::move(node));
    join_pcie(index, above);
    return index;
  };
  uint32_t above = numa;
  const size_t pix = pix_.of(device), pxb = pxb_.of(device);
  const bool with_upper = pxb_.members(pxb) > pix_.members(pix);
  if (with_upper) {
    const auto found = uppers_.find(pxb);
    above = found != uppers_.end() ? found->second : uppers_.emplace(pxb, make(numa)).first->second;
  }
  if (pix_.members(pix) < 2 && !with_upper) return above;
  const auto found = lowers_.find(pix);
  return found != lowers_.end() ? found->second : lowers_.emplace(pix, make(above)).first->second;
}

void Builder::add_devices() {
  for (size_t i = 0; i < size_; ++i) {
    const uint32_t parent = parent_of(i);
    Node node = matrix_.devices[i].node;
    node.numa = graph_.nodes[numas_.at(domains_.of(i))].numa;
    nodes_.push_back(graph_.add(std::move(node)));
    join_pcie(nodes_.back(), parent);
  }
}

void Builder::add_vendor_links() {
  // Of each device: those that it has vendor's links to, and whether one switch would explain them all.
  Groups linked(size_);
  for (size_t i = 0; i < size_; ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (matrix_.at(i, j).nearness == Nearness::kVendorLink) linked.join(i, j);
    }
  }
  std::map<size_t, uint32_t> switches;
  for (size_t i = 0; i < size_; ++i) {
    const size_t group = linked.of(i);
    size_t peers = 0;
    uint64_t links = 0;
    bool equal = true;
    uint32_t each = 0;
    for (size_t j = 0; j < size_; ++j) {
      const auto& cell = matrix_.at(i, j);
      if (cell.nearness != Nearness::kVendorLink) continue;
      ++peers, links += cell.links;
      equal = equal && (each == 0 || each == cell.links);
      each = cell.links;
    }
    if (matrix_.most_links == 0 || !equal || links <= matrix_.most_links ||
        peers + 1 != linked.members(group))
      continue;
    if (switches.count(group) == 0) {
      Node node;
      node.kind = NodeKind::kVendorSwitch;
      node.name = "NVSwitch";
      node.vendor = matrix_.devices[i].node.vendor;
      switches.emplace(group, graph_.add(std::move(node)));
    }
    Link link;
    link.kind = matrix_.link_kind;
    link.bandwidth_bytes_per_s = matrix_.link_bytes_per_s;
    link.from = nodes_[i], link.to = switches.at(group);
    link.count = each;
    graph_.join(std::move(link));
  }
  for (size_t i = 0; i < size_; ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (matrix_.at(i, j).nearness != Nearness::kVendorLink || switches.count(linked.of(i)) != 0) continue;
      Link link;
      link.kind = matrix_.link_kind;
      link.bandwidth_bytes_per_s = matrix_.link_bytes_per_s;
      link.from = nodes_[j], link.to = nodes_[i];
      link.count = std::max(1U, matrix_.at(i, j).links);
      graph_.join(std::move(link));
    }
  }
}

Result<Graph> Builder::build() {
  COMITY_RETURN_IF_ERROR(check());
  COMITY_RETURN_IF_ERROR(group());
  add_domains();
  add_devices();
  add_vendor_links();
  return std::move(graph_);
}

}  // namespace

Result<Graph> graph_of_matrix(const ClassMatrix& matrix) {
  return Builder(matrix).build();
}

}  // namespace comity::topology
