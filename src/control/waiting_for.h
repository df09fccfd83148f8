// What a rank waits for, for the control thread to read when somebody has waited for long: which collective,
// or which sends and receives; and how many it made with each peer, so that a message on its way is not taken
// for one that was never sent.
//
// Written by the data path, off its hot path: a call that ends within 100 ms never comes here.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace comity::control {

// What one rank exchanged with `peer`, both of one communicator: calls of Send and Recv that it began.
struct PairCount {
  uint32_t peer = 0;
  uint64_t sends = 0;
  uint64_t receives = 0;
  bool operator==(const PairCount&) const = default;
};

class WaitingFor {
 public:
  // One that is not complete: the `number`-th Send to `peer`, or Recv from it, counted from 1.
  struct Exchange {
    uint32_t peer = 0;
    bool sends = false;
    uint64_t number = 0;
    bool operator==(const Exchange&) const = default;
  };
  struct Now {
    uint64_t stamp = 0;       // changes with everything that follows; never the same again
    bool waits = false;       // false: in no call, or not for long
    uint64_t collective = 0;  // its number in the communicator; 0: in Sends and Recvs
    std::vector<Exchange> exchanges;
    std::vector<PairCount> pairs;
    bool operator==(const Now&) const = default;
  };

  // The call in flight is collective `number`; `pairs`: all peers of earlier Sends and Recvs. Any thread, as
  // all methods; a short lock.
  void in_collective(uint64_t number, std::vector<PairCount> pairs);
  // The call in flight is a Send or Recv or a group of such, of which these are incomplete. Call again when
  // some of them completed.
  void in_exchanges(std::vector<Exchange> incomplete, std::vector<PairCount> pairs);
  // The call has ended. Needed once after any of the above.
  void over();
  Now look() const;

 private:
  void set(Now now);

  mutable std::mutex mutex_;
  Now now_;
};

}  // namespace comity::control
