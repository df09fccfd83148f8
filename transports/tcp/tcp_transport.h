// The TCP transport: rails between hosts, or over the loopback.
//
// Each pair of ranks has one endpoint per rail (interfaces of both in one subnet) and connection
// (COMITY_TCP_CONNECTIONS). The higher rank connects to the lower. Settings: COMITY_SOCKET_IFNAME,
// COMITY_SOCKET_ADDRESS, COMITY_TCP_CONNECTIONS, COMITY_TCP_CONGESTION, COMITY_INIT_TIMEOUT_MS (how long a
// peer's listener may be unreachable). See README.md.
#pragma once

#include <memory>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/base/settings.h"

namespace comity::tcp {

// Listens on every usable interface; nothing is connected yet. Blocks for some ms (up to 3 s while a new IPv6
// address is not usable yet). Errors: kInvalidArgument (a setting), kSystemError (no interface, address in
// use). The context's secret and communicator must be those of all ranks.
// `settings`: read before this returns; without them, the process's.
Result<std::unique_ptr<Transport>> make_tcp_transport(const TransportContext& context,
                                                      const Settings& settings);
Result<std::unique_ptr<Transport>> make_tcp_transport(const TransportContext& context);

}  // namespace comity::tcp
