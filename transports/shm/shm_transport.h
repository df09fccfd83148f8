// Shared memory between ranks of one host: processes or threads. README.md tells how it works.
#pragma once

#include <memory>

#include "comity/plugin/transport.h"

namespace comity::shm {

// Makes this rank's transport and its board. kSystemError: the board's memory was refused, or this host
// cannot be told from others. The descriptor socket of the context must be served until the transport's end.
Result<std::unique_ptr<Transport>> make_shm_transport(const TransportContext& context);

}  // namespace comity::shm
