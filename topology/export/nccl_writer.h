// The writer behind export_nccl_xml. Internal.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

// One element's attributes, in order; those already there are not added again.
class XmlTag {
 public:
  explicit XmlTag(std::string name) : name_(std::move(name)) {}
  void set(std::string_view key, std::string_view value);
  // Attributes of a node whose names begin with `prefix`, the given ones first, then the others by name.
  void copy(const Node& node, std::string_view prefix, const std::vector<std::string_view>& first);
  bool has(std::string_view key) const { return keys_.count(std::string(key)) != 0; }
  bool empty() const { return keys_.empty(); }
  const std::string& name() const { return name_; }
  std::string open(int depth) const;   // "  <pci busid="...">\n"
  std::string close(int depth) const;  // "  </pci>\n"
  std::string whole(int depth) const;  // "  <net .../>\n"

 private:
  std::string name_, text_;
  std::set<std::string> keys_;
};

class NcclWriter {
 public:
  explicit NcclWriter(const Graph& graph);
  // kInvalidArgument: PCIe switches nest deeper than a reader takes.
  Result<std::string> write();

 private:
  void place_below(uint32_t top);
  void place_rest();
  void give_bus_ids();
  void give_host_hashes();
  Status check_depth() const;
  std::vector<uint32_t> below(uint32_t node) const;
  void write_cpu(uint32_t host, uint32_t cpu, int depth);
  void write_children(uint32_t node, int depth);
  // Parts of one PCI device; most often one.
  void write_devices(const std::vector<uint32_t>& parts, int depth);
  // False, and nothing written: a skeleton, which has no element of its own.
  bool write_device(uint32_t node, bool alone, int depth);
  bool is_part_of(uint32_t node, uint32_t other) const;
  bool written_with_first_part(const Link& link) const;
  void write_device_links(uint32_t node, const std::string& gcn, int sm, int depth);
  void write_link(const Link& link, const std::string& gcn, int sm, int depth);
  void write_kept(const Node& node, int depth);
  void write_nics(const std::vector<uint32_t>& nics, int depth);
  XmlTag pci(uint32_t node) const;
  XmlTag net(uint32_t node);
  bool is_virtual(uint32_t node) const;
  bool came_without_pci(const Node& node) const { return node.attributes.count("pci.class") == 0; }

  const Graph& graph_;
  std::vector<std::vector<uint32_t>> out_;
  std::vector<int64_t> parent_;                  // of each node in the PCIe tree, -1: none
  std::vector<int64_t> uplink_;                  // its link to there
  std::vector<int> depth_;                       // in elements; root ports are none
  std::vector<std::vector<uint32_t>> children_;  //
  std::vector<std::string> bus_ids_;
  std::map<uint32_t, std::string> host_hashes_;  // by the host's node
  std::map<uint32_t, uint32_t> first_cpu_;       // by host; the host's node where it has no domain
  std::string text_;
  uint32_t devices_ = 0, nets_ = 0;
};

std::string attribute_of(const Node& node, std::string_view key);
// "0-15,32" as NCCL's affinity: words of 32 bits in hex, the highest first; "" of none or of what is not a
// list.
std::string affinity_of(std::string_view list);

}  // namespace comity::topology
