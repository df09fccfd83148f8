// One visit to the meeting point, from the visitor's side: connect, prove, ask, take the answer, close.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "comity/plugin/result.h"
#include "src/control/channel.h"
#include "src/control/connector.h"
#include "src/control/loop.h"
#include "src/control/messages.h"

namespace comity::control {

class VisitCall : public std::enable_shared_from_this<VisitCall> {
 public:
  // The answer, or why none; `useless`: whoever answers there is not this communicator's meeting point.
  using Done = std::function<void(Result<Answer> answer, bool useless)>;
  // Calls `done` (may be empty) once, later, unless cancelled. Control thread only; needs no owner.
  static std::shared_ptr<VisitCall> start(Loop& loop, ConnectTarget target, const Visit& visit, Done done);
  void cancel();

 private:
  VisitCall(Loop& loop, const Visit& visit, uint64_t answer_within_ms, Done done);
  void on_connected(StreamPtr stream);
  void finish(Result<Answer> answer, bool useless);

  Loop& loop_;
  Visit visit_;
  uint64_t answer_within_ms_;
  Done done_;
  std::shared_ptr<Connector> connector_;
  std::shared_ptr<Channel> channel_;
  uint64_t timer_ = 0;
};

}  // namespace comity::control
