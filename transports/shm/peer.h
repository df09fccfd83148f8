// What a rank knows of another rank on its host: whose memory it maps, and how.
#pragma once

#include <array>
#include <memory>

#include "transports/shm/address.h"
#include "transports/shm/board.h"
#include "transports/shm/memory.h"
#include "transports/shm/ring.h"

namespace comity::shm {

struct Peer {
  Peer(uint32_t its_rank, Address its_address, PeerRegions& regions)
      : rank(its_rank),
        address(std::move(its_address)),
        memory(its_rank, address.process, address.socket_name, regions) {}
  uint32_t rank;
  Address address;
  Board board;
  PeerMemory memory;  // its arenas, mapped here
  bool same_process = false;
  bool plain_addressable = false;  // its plain pointers are used here as they are
  bool cross_memory = false;       // the kernel lets this process read and write that process's memory
  std::unique_ptr<RingEndpoint> ring;
  std::array<Endpoint*, 1> endpoints{};
};

}  // namespace comity::shm
