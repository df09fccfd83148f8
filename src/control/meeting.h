// The meeting point: served by the process that created the unique id, visited briefly by every rank.
//
//   visitor                                     meeting point
//     handshake (role meeting, its rank) ---->
//     visit: nranks, its listener        ---->  notes it
//                                        <----  parent's addresses | come back in N ms | refused | noted
//
// Once something contradicts (a rank given twice, ranks that disagree on nranks) or a rank gave up, the
// meeting has failed: every later visitor is refused with that one error. It closes when rank 0 says that all
// are connected, 60 s after it failed, or 120 s after the last rank came. The end of its process waits for
// ranks that come late to a meeting that failed, to 5 s after the failure, so that they hear why; but where
// its own user aborted, only for those that came.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/control/acceptor.h"
#include "src/control/channel.h"
#include "src/control/loop.h"
#include "src/control/messages.h"

namespace comity::control {

inline constexpr uint32_t kMaxRanks = 1u << 24;

// What a meeting point knows and answers; touches no socket.
class MeetingBook {
 public:
  // The clock must outlive the book.
  explicit MeetingBook(const Clock& clock = system_clock()) : clock_(clock) {}
  // The answer to `rank`, whose identity is proven as far as knowing the secret goes.
  Answer answer(uint32_t rank, const Visit& visit);
  bool failed() const { return !failure_.ok(); }
  bool all_came() const { return nranks_ != 0 && members_.size() == nranks_; }
  // Every rank was refused with the failure.
  bool all_told() const { return nranks_ != 0 && told_.size() == nranks_; }
  // Every rank that has come was.
  bool all_who_came_told() const;

 private:
  struct Member {
    uint64_t visitor = 0;
    std::vector<SocketAddress> addresses;
  };
  Answer answer_while_well(uint32_t rank, const Visit& visit);
  Answer answer_join(uint32_t rank, const Visit& visit);
  Answer refuse(Code code, std::string text) const;
  Answer fail(Code code, std::string text);
  const std::string& missing();

  const Clock& clock_;
  uint32_t nranks_ = 0;  // 0: nobody came yet
  uint32_t nranks_from_ = 0;
  std::unordered_map<uint32_t, Member> members_;
  Status failure_;
  std::unordered_set<uint32_t> told_;
  std::string missing_;
  size_t missing_as_of_ = SIZE_MAX;  // members_.size() when missing_ was written
  uint64_t missing_at_ns_ = 0;
};

class Meeting : public std::enable_shared_from_this<Meeting> {
 public:
  // Serves the sockets from now on. Control thread only; the meeting holds itself until it closes.
  static void open(Loop& loop, std::vector<ListenerPtr> listeners, const Secret& secret);
  // Ends the meeting of a communicator if this process serves it. Control thread only.
  static void close_if_here(Loop& loop, uint64_t communicator);
  // A rank of this process was aborted while it joined. Control thread only.
  static void abandon_if_here(Loop& loop, uint64_t communicator);
  // The process ends. Control thread only.
  void on_end();

 private:
  Meeting(Loop& loop, const Secret& secret);
  void on_proven(StreamPtr stream, const HandshakeHello& hello);
  void on_visit(uint32_t rank, const Visit& visit, Channel& channel);
  void close_in_ms(uint64_t ms);
  void close();
  bool need_stay() const;

  Loop& loop_;
  Secret secret_;
  uint64_t communicator_;
  MeetingBook book_;
  std::shared_ptr<Acceptor> acceptor_;
  uint64_t close_timer_ = 0;
  uint64_t failed_at_ns_ = 0;  // 0: it has not; else it holds the loop until it closes
  bool abandoned_ = false;     // by the user, who wants an end
};

}  // namespace comity::control
