// What libhwloc has loaded and the XML that it writes of that are one graph.

#include <gtest/gtest.h>
#include <hwloc.h>

#include <memory>
#include <string>

#include "topology/import/hwloc_graph.h"
#include "topology/import/hwloc_xml.h"

namespace comity::topology {
namespace {

TEST(TopologyHwloc, ThisMachineLoadedAndThisMachinesXmlAreOneGraph) {
  hwloc_topology_t loaded = nullptr;
  ASSERT_EQ(hwloc_topology_init(&loaded), 0);
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> topology(loaded,
                                                                                    &hwloc_topology_destroy);
  ASSERT_EQ(hwloc_topology_set_io_types_filter(loaded, HWLOC_TYPE_FILTER_KEEP_ALL), 0);
  // Its plugin over libpciaccess leaks; the kernel's own view of PCI is there without.
  hwloc_topology_set_components(loaded, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "pci");
  ASSERT_EQ(hwloc_topology_load(loaded), 0);
  Result<Graph> direct = graph_of_hwloc(loaded, "this machine");
  ASSERT_TRUE(direct.ok()) << direct.status().message();
  ASSERT_TRUE(validate(*direct).ok()) << validate(*direct).message();
  EXPECT_EQ(direct->host_count(), 1U);
  EXPECT_EQ(direct->nodes_of(NodeKind::kNuma).size(),
            static_cast<size_t>(hwloc_get_nbobjs_by_type(loaded, HWLOC_OBJ_NUMANODE)));

  char* buffer = nullptr;
  int length = 0;
  ASSERT_EQ(hwloc_topology_export_xmlbuffer(loaded, &buffer, &length, 0), 0);
  const std::string text(buffer);
  hwloc_free_xmlbuffer(loaded, buffer);
  const Result<Imported> written = import_hwloc_xml(text, "this machine");
  ASSERT_TRUE(written.ok()) << written.status().message();
  canonicalize(*direct);
  EXPECT_TRUE(direct->nodes == written->graph.nodes);
  EXPECT_TRUE(direct->links == written->graph.links);
}

}  // namespace
}  // namespace comity::topology
