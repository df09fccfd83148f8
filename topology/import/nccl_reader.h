// The reader behind import_nccl_xml: one pass over the elements makes nodes and PCIe links, a second one the
// links that name their ends. Internal.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"
#include "topology/import/notes.h"
#include "topology/import/xml.h"

namespace comity::topology {

class NcclReader {
 public:
  NcclReader(std::string_view text, const std::string& origin) : xml_(text, origin) {}
  Result<Imported> read(const pugi::xml_node& system);

 private:
  struct Place {
    uint32_t parent = 0, host = 0;
    int32_t numa = -1;
    int depth = 0;
  };
  // An element that names its other end, read when all nodes are there.
  struct Pending {
    uint32_t from = 0, cpu = 0;
    std::string element, target, target_class;
    int64_t count = 0, mega_bytes_per_s = 0;  // the latter 0: not told
  };
  // What the PCIe link up to the parent carries.
  struct Uplink {
    uint64_t bytes_per_s = 0;
    Source source = Source::kGuess;
  };

  Status read_cpu(const pugi::xml_node& cpu);
  Status read_host(const pugi::xml_node& cpu, uint32_t& host);
  Status read_below(const pugi::xml_node& element, const Place& place);
  Status read_pci(const pugi::xml_node& pci, const Place& place);
  Status read_devices(const pugi::xml_node& pci, Node node, const Place& place);
  Status read_device(const pugi::xml_node& gpu, const pugi::xml_node& linked, Node node, uint32_t& device);
  Status leave_out(const pugi::xml_node& pci, uint32_t vendor);
  Status read_switch(const pugi::xml_node& pci, Node node, const Place& place);
  Status read_nic_pci(const pugi::xml_node& pci, Node node, const Place& place);
  Status read_nets(const pugi::xml_node& nic, const Node& node, const Place& place, const Uplink* uplink);
  Status read_gpu_links(const pugi::xml_node& gpu, uint32_t device);
  Status read_uplink(const pugi::xml_node& pci, Uplink& uplink) const;
  void note_nic(const pugi::xml_node& nic);
  Status claim(const pugi::xml_node& pci, Node& node);  // also gives it a class
  Status add_node(const pugi::xml_node& element, Node node, uint32_t& index);
  void join_pcie(uint32_t from, uint32_t to, const Uplink& uplink, const std::string& shared = "");

  Status link_pending();
  Status link_devices(const Pending& pending, LinkKind kind);
  Status link_to_switch(const Pending& pending, LinkKind kind);
  void keep(const Pending& pending);
  // Into the link of the same ends and kind, where there is one.
  Status gather(const Pending& pending, Link link);
  Link priced(const Pending& pending, LinkKind kind) const;
  void join_cpus();

  // What links of parts share: the capacity of the device that they are of. Empty: neither end is a part.
  std::string shared_by_parts(const Pending& pending, const Link& link) const;

  using Names = std::vector<std::string_view>;
  struct Attributes {
    std::string_view prefix;
    Names fields, known;  // the former not kept
  };
  void keep_attributes(const pugi::xml_node& element, const Attributes& attributes, Node& node);
  void note_attributes(const pugi::xml_node& element, const Names& known);
  void note_elements(const pugi::xml_node& element, const Names& known);
  void note(const pugi::xml_node& node, std::string what);

  XmlText xml_;
  Notes notes_;
  Graph graph_;
  std::map<std::string, uint32_t> hosts_;  // number of the host by host_hash
  std::vector<uint32_t> host_nodes_;
  std::map<std::pair<uint32_t, int32_t>, uint32_t> cpus_;                   // by host and numaid
  std::map<std::tuple<uint32_t, NodeKind, std::string>, uint32_t> places_;  // by host, kind and bus id
  // Of devices that are parts of one PCI device, at its place and behind it: how many.
  std::map<uint32_t, uint32_t> parts_;
  std::vector<bool> is_part_;                                   // by node
  std::map<std::pair<uint32_t, LinkKind>, uint32_t> switches_;  // the vendor switch of each host
  // Links by ends, kind, bandwidth and element.
  std::map<std::tuple<uint32_t, uint32_t, LinkKind, uint64_t, std::string>, size_t> gathered_;
  std::vector<Pending> pending_;
  uint32_t cpu_ = 0;  // the node of the cpu being read
};

}  // namespace comity::topology
