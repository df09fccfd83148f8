// All ranks of a communicator in one thread, over a real transport, polled in a fixed order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/control/call_log.h"
#include "src/device/registry.h"
#include "src/engine/communicator.h"

namespace comity::guard {

inline constexpr uint32_t kRanks = 4;

class Ranks {
 public:
  // Ranks that are processes as far as shared memory can tell: plain buffers are not addressable by others.
  static Ranks over_shared_memory(DeviceRegistry& devices);
  // A host each; connected when this returns.
  static Ranks over_tcp(DeviceRegistry& devices);
  Ranks(Ranks&&) = default;
  ~Ranks();

  // Starts calls[r] on rank r, for all r, and polls all ranks in order until each is done.
  void run(const std::vector<engine::Call>& calls);

 private:
  struct Rank;
  Ranks() = default;
  void add(uint32_t rank, DeviceRegistry& devices, std::unique_ptr<Transport> transport);
  void meet();
  void connect();
  std::vector<std::unique_ptr<Rank>> ranks_;
};

// Ends the process unless it is fine, saying what is not.
void must(const Status& status, const char* what);

}  // namespace comity::guard
