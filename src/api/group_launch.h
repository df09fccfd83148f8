// Launch: carries out what a group has collected: what is on streams, or must keep its order with what is, by
// the progress thread, the rest on the caller's.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/api/handle.h"
#include "src/engine/call.h"
#include "src/engine/stream_dispatcher.h"

namespace comity::api {

struct Collected {
  comityComm_t comm;
  engine::KeptCall call;
  std::vector<engine::PointToPoint> exchange;  // of an exchange: all of it
  std::vector<std::shared_ptr<engine::Stream>> streams;
  bool waited_for = false;  // it, or a part of it, was made without a stream
  const char* function;     // of the first part; static
};

class Launch {
 public:
  explicit Launch(std::vector<Collected>& calls);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  // Once. Blocks until the calls that were made without a stream are complete, and returns the first error in
  // the order of the calls. *behind: whether some of them, of communicators that do not block, go on behind
  // the caller's back.
  Status carry_out(bool* behind);

 private:
  class Queue;
  struct Member;

  Status enter();
  Status enqueue();
  void drive();
  void take(size_t index, const Status& status);

  std::vector<Collected>& calls_;
  std::map<comityComm_t, Member> members_;
  std::shared_ptr<engine::Outcome> outcome_;  // null: nothing enqueued is waited for
  bool behind_ = false;
  size_t first_index_ = SIZE_MAX;
  Status first_error_;
};

}  // namespace comity::api
