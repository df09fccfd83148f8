// In place of the readers of XML, in a build without pugixml.

#include "topology/import/hwloc_xml.h"
#include "topology/import/nccl_xml.h"

namespace comity::topology {

namespace {

Status absent(const std::string& origin) {
  return {Code::kUnsupported, origin + ": this build cannot read XML: install pugixml and build again"};
}

}  // namespace

Result<Imported> import_nccl_xml(std::string_view, const std::string& origin) {
  return absent(origin);
}
Result<Imported> import_hwloc_xml(std::string_view, const std::string& origin) {
  return absent(origin);
}

}  // namespace comity::topology
