// Finds ranks that wait for one another in a ring, so that none of them can ever get on.
//
//   a rank in Sends or Recvs   --waits-->       up to the root, once it waited for 100 ms, then ever rarer
//   root                       --who waits?-->  down: that rank and those it waits for, twice
//   each of these              --waits-->       up, if it waits at all
//   root                       who says the same twice was in that call all along; of these it follows
//                              who needs whom, and a ring is the fault, which names two of the calls
//
// A needs B, for certain, where A waits in a Recv (or Send) that B has not begun the other side of, or in a
// collective to which B has not come and without which A cannot leave it. What may be on its way counts for
// nothing, and so does a rank that is in no call: it may yet do anything. A ring has a Send or a Recv in it,
// since collectives alone are waited for in their order; so ranks in collectives are only asked, and healthy
// programs without long Recvs pay nothing.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "src/control/loop.h"
#include "src/control/messages.h"
#include "src/control/tree_port.h"

namespace comity::control {

// By rank, those that waited unchanged: the ranks of a ring in order, each needing the next and the last the
// first; empty if there is none. Starts with its lowest rank; the same for the same input.
std::vector<uint32_t> find_ring(const std::map<uint32_t, Waiting>& waiting);
// The verdict's sentence about it.
std::string describe_ring(const std::map<uint32_t, Waiting>& waiting, const std::vector<uint32_t>& ring);

class RingSearch {
 public:
  RingSearch(Loop& loop, TreePort& port) : loop_(loop), port_(port) {}
  ~RingSearch() { stop(); }

  // This rank has waited for long in `communicator`.
  void report(uint64_t communicator);
  // The communicator has its verdict, or this rank left it.
  void forget(uint64_t communicator);
  void stop();

  // Messages of neighbours; false: malformed.
  bool on_waits(std::span<const std::byte> payload);
  bool on_who_waits(std::span<const std::byte> payload);

 private:
  static constexpr uint64_t kCollectMs = 20;  // reports of one ring come together
  static constexpr uint64_t kAnswerMs = 100;
  static constexpr uint64_t kMostSeldomMs = 3200;
  struct Search {  // at the root
    std::set<uint32_t> ranks;
    uint64_t timer = 0;
    uint64_t round = 0;
    std::map<uint32_t, Waiting> before;  // answers of the first round, once the second has begun
    std::map<uint32_t, Waiting> answers;
    bool second = false;
  };
  struct Told {  // of this rank's own waiting
    uint64_t stamp = 0;
    uint64_t next_ns = 0;
    uint64_t every_ms = kAnswerMs;
  };
  void take(const Waiting& waits);
  void ask(uint64_t communicator);
  void evaluate(uint64_t communicator);
  void answer(const WhoWaits& question);

  Loop& loop_;
  TreePort& port_;
  std::map<uint64_t, Search> searches_;  // by communicator
  std::map<uint64_t, Told> told_;
};

}  // namespace comity::control
