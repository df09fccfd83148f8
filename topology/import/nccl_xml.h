// NCCL's topology XML (what NCCL_TOPO_DUMP_FILE writes and NCCL_TOPO_FILE reads), also RCCL's dialect (xgmi,
// gcn), FlagCX's (apu for gpu), and partial files: PCI trees without gpu, nvlink or net elements.
//
// What the reader makes of it: one host per host_hash, a NUMA domain per cpu, a PCIe switch per pci with
// others below it, a device per gpu (or per pci of an accelerator's class; several below one pci are its
// parts and share its links), a NIC port per net (or per pci of a NIC's class). All NVSwitches of a host are
// one vendor switch, as NCCL itself has it. CPU domains of a host are joined pairwise with NCCL's own
// estimates, which the file does not hold. Attributes that the graph has no field for stay on nodes as
// "pci.*", "nccl.gpu.*", "nccl.net.*", "nccl.cpu.*", "nccl.system.*"; a NIC's speed is
// "net.bandwidth_bytes_per_s". An element or attribute that is not known is a warning, and devices in a place
// where there are none an error.
#pragma once

#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "topology/import/notes.h"

namespace comity::topology {

// A canonical graph, or kInvalidArgument: "<origin>:<line>: <reason>"; kUnsupported without pugixml. `origin`
// is the file's name. Pure; memory and time are linear in the text, which may have 64 MiB.
Result<Imported> import_nccl_xml(std::string_view text, const std::string& origin);

}  // namespace comity::topology
