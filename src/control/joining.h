// A rank's way into the tree: visits the meeting point until it knows its parent, connects to it, and minds
// the deadline.
//
//   visiting --parent--> connecting --proven--> waiting --complete()--> (gone)
//      ^  '--come back--'     |                    |
//      |                      |--retry--'          root: asks the meeting every 100 ms whether it failed
//      |                      '-> asks the meeting  others: ask once, shortly before the deadline, who
//      |                          whether it failed   is missing
//      '--unreachable, retried for 3 s--
//   any --deadline, refusal, useless peer--> failed, also told to the meeting, so that all others hear
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/base/settings.h"
#include "src/base/socket.h"
#include "src/control/connector.h"
#include "src/control/loop.h"
#include "src/control/messages.h"
#include "src/control/visit_call.h"

namespace comity::control {

class Joining : public std::enable_shared_from_this<Joining> {
 public:
  struct Options {
    uint32_t rank = 0;
    uint32_t nranks = 1;
    Secret secret{};
    uint64_t communicator = 0;
    std::vector<SocketAddress> meeting;  // where the meeting point listens
    uint64_t left_out = 0;               // addresses of its host that the id does not name
    std::vector<SocketAddress> own;      // where this rank's children find it
    Deadline deadline = Deadline::never();
    std::shared_ptr<const Settings> settings;  // of the communicator; null: the process's
  };
  struct Events {
    std::function<void(StreamPtr stream)> parent;   // a proven connection; never called on rank 0
    std::function<void(const Status& why)> failed;  // called once at most
  };

  // Control thread only, as all methods. Runs until complete() or stop(), or until `failed` was called.
  static std::shared_ptr<Joining> start(Loop& loop, Options options, Events events);
  // Everyone is connected: rank 0 tells the meeting point.
  void complete();
  // Gives up for a reason that came from outside, which the meeting point learns with `tell`. No event
  // follows.
  void stop(const Status& why, bool tell);
  // Gives up: tells the meeting point and calls `failed` with the first reason that it was told, which is
  // everybody's; with `why` if it does not answer.
  void fail(const Status& why) { fail(why, true); }

 private:
  enum class Stage { kVisiting, kConnecting, kWaiting, kFailing, kOver };
  Joining(Loop& loop, Options options, Events events);
  ConnectTarget meeting_target() const;
  Visit visit_of(VisitPurpose purpose) const;
  void visit(VisitPurpose purpose);
  void visit_after_ms(uint64_t ms, VisitPurpose purpose);
  void on_answer(const Result<Answer>& answer, bool useless, VisitPurpose purpose);
  void on_parent_known(std::vector<SocketAddress> addresses);
  void connect_parent();
  void wait_for_all();
  bool may_retry(const Status& failure, bool useless);
  void on_deadline();
  void fail(const Status& why, bool tell);
  std::shared_ptr<VisitCall> say_farewell(const Status& why, VisitCall::Done done);
  void stop_steps();
  void end();

  Loop& loop_;
  Options options_;
  Events events_;
  Stage stage_ = Stage::kVisiting;
  uint64_t visitor_;
  std::shared_ptr<VisitCall> call_;
  std::shared_ptr<Connector> connector_;
  std::vector<SocketAddress> parent_;
  uint64_t step_timer_ = 0;      // of the next visit or connection
  uint64_t question_timer_ = 0;  // who is missing, shortly before the deadline
  uint64_t deadline_timer_ = 0;
  uint64_t failing_since_ns_ = 0;  // 0: the last attempt succeeded
  uint32_t failures_ = 0;          // in a row
  std::string last_failure_;
  std::string missing_;
};

}  // namespace comity::control
