// Which congestion control data sockets use.
#pragma once

#include <string>

#include "comity/plugin/result.h"
#include "src/base/settings.h"

namespace comity::tcp {

// The name for TCP_CONGESTION; empty: leave the system's default. COMITY_TCP_CONGESTION if it is set
// (kInvalidArgument, with the list of what there is, if the kernel does not take it). Else the system's
// default, unless that is one that paces (bbr): between ranks on one machine, on veth and on fast local
// networks pacing costs 1.3 to 2 times the time (loopback here: bbr 24-40 Gbit/s, cubic 31-64, reno 49-69),
// so then cubic, else reno, as far as the kernel allows this process. Peers need not agree: each end paces
// its own direction. Blocks for some microseconds.
Result<std::string> choose_congestion_control(const Settings& settings);

// Sets it on a socket; an empty name does nothing. False: the kernel refused.
bool set_congestion_control(int fd, const std::string& name);

}  // namespace comity::tcp
