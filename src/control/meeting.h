// The meeting point: served by the process that created the unique id, visited briefly by every rank.
//
//   visitor                                     meeting point
//     handshake (role meeting, its rank) ---->
//     visit: nranks, its listener        ---->  notes it
//                                        <----  parent's addresses | come back in N ms | refused | noted
//
// Once something contradicts (a rank given twice, ranks that disagree on nranks) or a rank gave up, the
// meeting has failed: every later visitor is refused with that one error. It closes when rank 0 says that all
// are connected, 60 s after it failed, or 120 s after the last rank came.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "comity/plugin/result.h"
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
  // The answer to `rank`, whose identity is proven as far as knowing the secret goes.
  Answer answer(uint32_t rank, const Visit& visit);
  bool failed() const { return !failure_.ok(); }
  bool all_came() const { return nranks_ != 0 && members_.size() == nranks_; }

 private:
  struct Member {
    uint64_t visitor = 0;
    std::vector<SocketAddress> addresses;
  };
  Answer answer_join(uint32_t rank, const Visit& visit);
  Answer refuse(Code code, std::string text) const;
  Answer fail(Code code, std::string text);
  const std::string& missing();

  uint32_t nranks_ = 0;  // 0: nobody came yet
  uint32_t nranks_from_ = 0;
  std::unordered_map<uint32_t, Member> members_;
  Status failure_;
  std::string missing_;
  size_t missing_as_of_ = SIZE_MAX;  // members_.size() when missing_ was written
  uint64_t missing_at_ns_ = 0;
};

class Meeting : public std::enable_shared_from_this<Meeting> {
 public:
  // Serves the sockets from now on. Control thread only; the meeting holds itself until it closes.
  static void open(Loop& loop, std::vector<UniqueFd> listeners, const Secret& secret);
  // Ends the meeting of a communicator if this process serves it. Control thread only.
  static void close_if_here(uint64_t communicator);

 private:
  Meeting(Loop& loop, const Secret& secret);
  void on_proven(UniqueFd fd, const HandshakeHello& hello);
  void on_visit(uint32_t rank, const Visit& visit, Channel& channel);
  void close_in_ms(uint64_t ms);
  void close();

  Loop& loop_;
  Secret secret_;
  uint64_t communicator_;
  MeetingBook book_;
  std::shared_ptr<Acceptor> acceptor_;
  uint64_t close_timer_ = 0;
};

}  // namespace comity::control
