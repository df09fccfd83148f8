// Waits for the end of the processes of some ranks, on the control thread.
//
// The end of a process shows here even if a child that it forked keeps its connections open. What the process
// said before it ended may still be on its way: the end is told kLastWordsMs later.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "src/base/stream.h"
#include "src/control/loop.h"
#include "src/control/process_name.h"

namespace comity::control {

class ProcessWatch : public std::enable_shared_from_this<ProcessWatch> {
 public:
  static constexpr uint64_t kLastWordsMs = 100;
  using Ended = std::function<void(uint32_t rank)>;

  // `ended` is called once for each rank watched whose process ended. Control thread only, as all methods.
  static std::shared_ptr<ProcessWatch> start(Loop& loop, Ended ended);
  // Does nothing for a rank that is watched already, for one of this very process, and where the process
  // cannot be watched: its connections tell then.
  void watch(uint32_t rank, const ProcessName& process);
  // No call of `ended` any more. Must be called to release it.
  void stop();

 private:
  struct Watched {
    std::unique_ptr<Pollable> process;
    uint64_t watch = 0;
    uint64_t timer = 0;
  };
  ProcessWatch(Loop& loop, Ended ended);
  void on_end(uint32_t rank);

  Loop& loop_;
  Ended ended_;
  ProcessName self_;
  std::map<uint32_t, Watched> watched_;
};

}  // namespace comity::control
