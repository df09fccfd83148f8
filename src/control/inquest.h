// Finds out whether ranks called different things under one number.
//
//   somebody          --report(number)-->  up to the root, at most one per number and 100 ms from each node
//   root              --ask------------->  down to all
//   each rank         --opinion--------->  up: its call of that number; "left" if it left before; nothing if
//                                          not yet
//   each node passes on the first opinion and one that differs from it: that is all the root needs
//   root              two that differ: declares the fault that names both
//
// Nobody waits for anybody here: a rank that is late, dead or stopped holds nothing up.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "src/control/call_log.h"
#include "src/control/loop.h"
#include "src/control/messages.h"
#include "src/control/tree_port.h"

namespace comity::control {

// The verdict's sentence about two opinions on call `number` that differ.
std::string describe_difference(uint64_t number, const Opinion& a, const Opinion& b);

class Inquest {
 public:
  Inquest(Loop& loop, TreePort& port, const CallLog& calls) : loop_(loop), port_(port), calls_(calls) {}
  ~Inquest() { stop(); }

  // This rank or one below suspects call `number`. Reports within 100 ms after one are merged into the next.
  void report(uint64_t number);
  // This rank has left; what it has not called by now it never will.
  void set_left() { left_ = true; }
  // A neighbour that left is about to be cut off: from now on this node answers for it.
  void answer_for(uint32_t rank, uint64_t last_number) { gone_[rank] = last_number; }
  // Ends all timers.
  void stop();

  // Messages of neighbours; false: malformed.
  bool on_report(std::span<const std::byte> payload);
  bool on_ask(std::span<const std::byte> payload);
  bool on_opinion(std::span<const std::byte> payload);

 private:
  static constexpr uint64_t kReportEveryMs = 100;
  static constexpr size_t kOpenReports = 64;
  static constexpr size_t kOpenInquiries = 64;
  struct Window {
    uint64_t timer = 0;
    bool again = false;
  };
  struct Open {
    uint64_t inquiry = 0;
    uint64_t number = 0;
    std::optional<Opinion> first;
    bool settled = false;  // a second, different opinion was passed on
  };
  void pass_report(uint64_t number);
  void on_window_end(uint64_t number);
  void ask(uint64_t inquiry, uint64_t number);
  void take(Open& open, const Opinion& opinion);
  std::optional<Opinion> own_opinion(const Open& open) const;
  Open* find(uint64_t inquiry);

  Loop& loop_;
  TreePort& port_;
  const CallLog& calls_;
  bool left_ = false;
  std::map<uint32_t, uint64_t> gone_;   // ranks that left and cannot be asked: their last number
  std::map<uint64_t, Window> windows_;  // by number
  std::deque<Open> open_;
};

}  // namespace comity::control
