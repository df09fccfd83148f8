// What the 128 bytes of a unique id say.
//
//   magic 4 | version 1 | addresses 1 | 4 x (family 1, port 2, address 16) | secret 32 | checksum 8 | zero 6
//
// The checksum is the start of a hash over all before it: it finds damage, not forgery (the secret does
// that).
#pragma once

#include <vector>

#include "comity/plugin/result.h"
#include "src/base/handshake.h"
#include "src/base/socket.h"
#include "src/control/control.h"

namespace comity::control {

struct IdContent {
  std::vector<SocketAddress> addresses;  // of the meeting point; 1 to 4
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
