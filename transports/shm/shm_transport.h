// Shared memory between ranks of one host: processes or threads. README.md tells how it works.
#pragma once

#include <cstdint>
#include <memory>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"

namespace comity::shm {

inline constexpr uint32_t kUnknownMaker = UINT32_MAX;

// What tests vary; the defaults are what users get.
struct ShmOptions {
  bool address_plain =
      true;  // ranks that are threads of one process use each other's plain buffers by address
  bool cross_memory = true;  // use the kernel's copies between processes where it allows them
  uint32_t cores = 0;        // that the ranks of this host are taken to share; 0: as the scheduler says
  // The lowest rank of this host, where all its ranks know it beforehand (those of a split do): it alone
  // makes the memory with their boards. Else each makes one, and that of the lowest is used.
  uint32_t maker = kUnknownMaker;
  // The host's ranks outnumber cores, also where those of this communicator do not.
  bool crowded = false;
};

// Makes this rank's transport and its board. A communicator costs the maker of its boards a descriptor and
// each of its ranks a mapping, until they are destroyed, and opens no socket but to fetch the descriptor.
// kSystemError: the board's memory was refused, or this host cannot be told from others. The descriptor
// socket of the context must be served until the transport's end.
Result<std::unique_ptr<Transport>> make_shm_transport(const TransportContext& context,
                                                      const ShmOptions& options = {});

// The transport of a rank whose system refuses it shared memory: joins nobody, and tells its peers so by its
// address. `why` is what every reach() says.
std::unique_ptr<Transport> make_absent_transport(Status why);

}  // namespace comity::shm
