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
  Builder(const ClassMatrix& matrix, std::vector<std::string>& doubts)
      : matrix_(matrix),
        doubts_(doubts),
        size_(matrix.devices.size()),
        pix_(size_),
        pxb_(size_),
        domains_(size_) {}
  Result<Graph> build();

 private:
  Status check() const;
  void join_domains(size_t a, size_t b);
  void group();
  Status check_groups();
  void doubt(size_t a, size_t b, const std::string& what);
  bool has_domain(size_t group) const;
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
  std::vector<std::string>& doubts_;
  std::set<std::string> doubted_;
  size_t size_;
  std::vector<int32_t> number_;  // of each group's NUMA domain, by the group; -1: not told
  Groups pix_, pxb_, domains_;
  Graph graph_;
  std::map<size_t, uint32_t> domain_nodes_, uppers_, lowers_;  // by group; the host where no domain is told
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

void Builder::join_domains(size_t a, size_t b) {
  const int32_t number = number_[domains_.of(std::min(a, b))], other = number_[domains_.of(std::max(a, b))];
  domains_.join(a, b);
  number_[domains_.of(a)] = number >= 0 ? number : other;
}

// Told numbers before what the matrix says, and that before equal CPUs.
void Builder::group() {
  std::vector<std::pair<size_t, size_t>> near;
  for (size_t i = 0; i < size_; ++i) {
    number_.push_back(matrix_.devices[i].numa);
    for (size_t j = 0; j < i; ++j) {
      const Nearness nearness = matrix_.at(i, j).nearness;
      if (nearness == Nearness::kPix) pix_.join(i, j);
      if (nearness == Nearness::kPix || nearness == Nearness::kPxb) pxb_.join(i, j);
      if (nearness == Nearness::kPhb) near.emplace_back(j, i);
    }
  }
  for (size_t i = 0; i < size_; ++i) {
    if (pxb_.of(i) != i) join_domains(pxb_.of(i), i);
  }
  std::map<int32_t, size_t> numbered;
  for (size_t i = 0; i < size_; ++i) {
    const int32_t number = number_[domains_.of(i)];
    if (number >= 0) join_domains(numbered.emplace(number, i).first->second, i);
  }
  for (const auto& [i, j] : near) {
    const int32_t one = number_[domains_.of(i)], other = number_[domains_.of(j)];
    if (one < 0 || other < 0 || one == other) join_domains(i, j);
  }
  std::map<std::string, std::vector<size_t>> by_cpus;
  for (size_t i = 0; i < size_; ++i) {
    const std::string& cpus = matrix_.devices[i].cpus;
    if (cpus.empty()) continue;
    for (const size_t other : by_cpus[cpus]) {
      const int32_t one = number_[domains_.of(i)], two = number_[domains_.of(other)];
      const bool told_apart = one >= 0 && two >= 0 && one != two;
      if (domains_.of(i) != domains_.of(other) && !told_apart && !parted(i, other)) join_domains(i, other);
    }
    by_cpus[cpus].push_back(i);
  }
}

// What the matrix says of two devices against where they are now.
Status Builder::check_groups() {
  for (size_t i = 0; i < size_; ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Nearness nearness = matrix_.at(i, j).nearness;
      if (nearness == Nearness::kVendorLink || nearness == Nearness::kUnknown)
        continue;  // they hide the class over PCIe
      if ((nearness > Nearness::kPix && pix_.of(i) == pix_.of(j)) ||
          (nearness > Nearness::kPxb && pxb_.of(i) == pxb_.of(j)))
        return contradiction(j, i, "are near one switch and not near each other");
      const bool together = domains_.of(i) == domains_.of(j);
      const int32_t number = number_[domains_.of(i)];
      if (nearness == Nearness::kSys && together && number < 0)
        return contradiction(j, i, "are SYS, but both near a third");
      const int32_t mine = matrix_.devices[i].numa, other = matrix_.devices[j].numa;
      if (nearness == Nearness::kSys && together) {
        doubt(j, i, fmt::format("are SYS, yet both are told to be near NUMA domain {}", number));
      } else if (nearness < Nearness::kSys && mine >= 0 && other >= 0 && mine != other) {
        doubt(
            j, i,
            fmt::format("are nearer than SYS, yet are told to be near NUMA domains {} and {}", other, mine));
      }
    }
  }
  return {};
}

// The first of each kind: the others follow from it.
void Builder::doubt(size_t a, size_t b, const std::string& what) {
  if (!doubted_.insert(what).second) return;
  doubts_.push_back(fmt::format("{} and {} {}: what is told of NUMA is kept", matrix_.devices[a].node.name,
                                matrix_.devices[b].node.name, what));
}

// Something is told of its NUMA domain: its number, its CPUs, or that it is not that of another device.
bool Builder::has_domain(size_t group) const {
  if (number_[group] >= 0) return true;
  for (size_t i = 0; i < size_; ++i) {
    if (domains_.of(i) != group) continue;
    if (!matrix_.devices[i].cpus.empty()) return true;
    for (size_t j = 0; j < size_; ++j) {
      if (matrix_.at(i, j).nearness == Nearness::kSys) return true;
    }
  }
  return false;
}

void Builder::add_domains() {
  const uint32_t host = graph_.add(Node{});
  std::set<int32_t> used(number_.begin(), number_.end());
  std::vector<uint32_t> numas;
  int32_t next = 0;
  for (size_t group = 0; group < size_; ++group) {
    if (domains_.of(group) != group) continue;
    if (!has_domain(group)) {
      domain_nodes_.emplace(group, host);
      continue;
    }
    while (number_[group] < 0 && !used.insert(next).second) ++next;
    Node numa;
    numa.kind = NodeKind::kNuma;
    numa.numa = number_[group] >= 0 ? number_[group] : next;
    const uint32_t index = graph_.add(std::move(numa));
    Link link;
    link.kind = LinkKind::kMemory;
    link.from = host, link.to = index;
    graph_.join(link);
    link.kind = LinkKind::kCpu;
    for (const uint32_t other : numas) {
      link.from = other;
      graph_.join(link);
    }
    numas.push_back(index);
    domain_nodes_.emplace(group, index);
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
  const uint32_t numa = domain_nodes_.at(domains_.of(device));
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
    const int32_t told = matrix_.devices[i].numa;
    node.numa = told >= 0 ? told : graph_.nodes[domain_nodes_.at(domains_.of(i))].numa;
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
  group();
  COMITY_RETURN_IF_ERROR(check_groups());
  add_domains();
  add_devices();
  add_vendor_links();
  return std::move(graph_);
}

}  // namespace

Result<Graph> graph_of_matrix(const ClassMatrix& matrix, std::vector<std::string>& doubts) {
  return Builder(matrix, doubts).build();
}

}  // namespace comity::topology
