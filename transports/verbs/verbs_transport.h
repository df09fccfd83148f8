// The verbs transport: reliable connections over InfiniBand and RoCE, by libibverbs.
//
// A rail is an active port. Each pair of ranks has one endpoint per rail that both share and queue pair
// (COMITY_VERBS_QUEUE_PAIRS). Queue pairs are told of by sealed letters over the control plane. Short
// messages are sent into receives that the peer posted before; long ones are put where it said
// (Endpoint::try_put). libibverbs is opened when the first transport is made. See README.md.
#pragma once

#include <memory>
#include <string>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/base/settings.h"

namespace comity::verbs {

// Opens all ports that are active, as COMITY_VERBS_DEVICES lists them; nothing is connected yet. Blocks for
// some ms. Errors: kUnsupported (built without libibverbs, or the library is not here), kSystemError (no
// device, no active port, no permission: says which), kInvalidArgument (a setting). `context.mail` is needed.
Result<std::unique_ptr<Transport>> make_verbs_transport(const TransportContext& context,
                                                        const Settings& settings);

// What there is for it, for `comity doctor`: "rxe0 port 1 RoCE 10.0.0.1", or an error as above.
Result<std::string> describe_verbs(const Settings& settings);

}  // namespace comity::verbs
