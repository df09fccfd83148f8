// What the 128 bytes of a unique id say.
//
//   magic 4 | version 1 | addresses 1 | left out 1 | secret 32 | addresses, zeros 81 | checksum 8
//
// An address is family 1, port 2, and 4 or 16 bytes: 11 of IPv4 fit, or 4 of IPv6. The checksum is the start
// of a hash over all before it: it finds damage, not forgery (the secret does that).
#pragma once

#include <vector>

#include "comity/plugin/result.h"
#include "src/base/handshake.h"
#include "src/base/socket.h"
#include "src/control/control.h"

namespace comity::control {

struct IdContent {
  std::vector<SocketAddress> addresses;  // of the meeting point, best first; an id keeps what fits
  uint64_t left_out = 0;                 // addresses that the creator could not name; at most 255 are told
  Secret secret{};
};

UniqueId encode_id(const IdContent& content);
// kInvalidArgument says what is damaged and what to try.
Result<IdContent> decode_id(const UniqueId& id);

// The public name of the communicator; tells nothing of the secret.
uint64_t communicator_id_of(const Secret& secret);
// The key of its data sockets and descriptor requests.
Secret data_secret_of(const Secret& secret);

}  // namespace comity::control
