// Which communicators are alive in this process, for whoever asks for a descriptor.
#pragma once

#include <cstdint>

#include "src/base/handshake.h"

namespace comity::control {

// A rank of `communicator` lives here and may be asked with `data_secret`. Counted: several ranks may be
// threads of one process. Any thread.
void register_communicator(uint64_t communicator, const Secret& data_secret);
void unregister_communicator(uint64_t communicator);

}  // namespace comity::control
