// The UCX transport: active messages of UCP, over whatever UCX reaches.
//
// One worker per rank and family. A segment is one active message: its header, who sends it and a token that
// only who knows the secret can have, then the payload. Short ones are eager; a long one stays with its
// sender until its receive is posted, and then goes straight to its place (UCX's rendezvous). libucp is
// opened when the first transport is made, and stays (library.h). See README.md.
#pragma once

#include <memory>
#include <string>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"

namespace comity::ucx {

// Opens UCX and makes a worker; nothing is connected yet. Blocks for some ten ms. Errors: kUnsupported (built
// without UCX, or its library is not here or of another version: says how to get it), kSystemError (UCX found
// no device, or was refused memory or descriptors). UCX's own settings, UCX_*, are UCX's.
Result<std::unique_ptr<Transport>> make_ucx_transport(const TransportContext& context);

// What there is of UCX, for `comity doctor`: the library and its version, or kUnsupported as above. Opens it.
Result<std::string> describe_ucx();

}  // namespace comity::ucx
