// Without libibverbs' headers.
#include "transports/verbs/verbs_transport.h"

namespace comity::verbs {
namespace {

Status off() {
  return Status(Code::kUnsupported,
                "this Comity was built without libibverbs: install libibverbs-dev and build it anew");
}

}  // namespace

Result<std::unique_ptr<Transport>> make_verbs_transport(const TransportContext&, const Settings&) {
  return off();
}

Result<std::string> describe_verbs(const Settings&) {
  return off();
}

}  // namespace comity::verbs
