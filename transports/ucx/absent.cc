// Without UCX's headers.
#include "transports/ucx/ucx_transport.h"

namespace comity::ucx {
namespace {

Status off() {
  return Status(Code::kUnsupported,
                "this Comity was built without UCX: install libucx-dev (1.13 or later) and build it anew");
}

}  // namespace

Result<std::unique_ptr<Transport>> make_ucx_transport(const TransportContext&) {
  return off();
}

Result<std::string> describe_ucx() {
  return off();
}

}  // namespace comity::ucx
