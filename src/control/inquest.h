// Finds out whether ranks of a communicator called different things under one number.
//
//   somebody          --report(calls)-->  up to the root, at most one per communicator and 100 ms from each
//   root              --ask------------>  down to all
//   each rank         --opinion-------->  up: its calls of these numbers; "left" or "finished" where it will
//                                         not make them; nothing of those that it has not made yet
//   each node passes on the first opinion of a number and one that differs: that is all the root needs
//   root              two that differ: declares the fault that names both
//
// Numbers are asked for in ranges, as a rank may run ahead: the call in which it notices is not always the
// one that differs. What a rank says of several is one message, in order: of any two ranks the first
// difference is found. Nobody waits for anybody here: a rank that is late, dead or stopped holds nothing up.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/control/loop.h"
#include "src/control/messages.h"
#include "src/control/tree_port.h"

namespace comity::control {

// The verdict's sentence about two opinions on one call that differ.
std::string describe_difference(const Opinion& a, const Opinion& b);

class Inquest {
 public:
  Inquest(Loop& loop, TreePort& port) : loop_(loop), port_(port) {}
  ~Inquest() { stop(); }

  // This rank or one below suspects calls [first, last], at most kMostAsked. Reports within 100 ms after one
  // are merged into the next.
  void report(uint64_t communicator, uint64_t first, uint64_t last);
  // A neighbour that left is about to be cut off: from now on this node answers for it.
  void answer_for(uint32_t member, const Leaving& leaving) { gone_[member] = leaving; }
  // The communicator has its verdict.
  void forget(uint64_t communicator);
  // Ends all timers.
  void stop();

  // Messages of neighbours; false: malformed.
  bool on_report(std::span<const std::byte> payload);
  bool on_ask(std::span<const std::byte> payload);
  bool on_opinions(std::span<const std::byte> payload);

 private:
  static constexpr uint64_t kReportEveryMs = 100;
  static constexpr size_t kOpenReports = 64;
  static constexpr size_t kOpenInquiries = 64;
  struct Window {
    uint64_t timer = 0;
    uint64_t first = 0;  // reported since it opened; 0: nothing
    uint64_t last = 0;
  };
  struct Heard {
    Opinion first;
    bool settled = false;  // a second, different opinion was passed on
  };
  struct Open {
    Inquiry inquiry;
    std::map<uint64_t, Heard> heard;  // by number
  };
  void pass_report(uint64_t communicator, uint64_t first, uint64_t last);
  void on_window_end(uint64_t communicator);
  void ask(const Inquiry& inquiry);
  void take(Open& open, const std::vector<Opinion>& opinions);
  std::vector<Opinion> for_the_gone(const Inquiry& inquiry) const;
  Open* find(uint64_t inquiry);

  Loop& loop_;
  TreePort& port_;
  std::map<uint32_t, Leaving> gone_;    // ranks that left and cannot be asked
  std::map<uint64_t, Window> windows_;  // by communicator
  std::deque<Open> open_;
};

}  // namespace comity::control
