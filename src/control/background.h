// Work of others on the control thread: what transports do while their rank makes no call.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "comity/plugin/transport.h"

namespace comity::control {

class Loop;

class LoopBackground final : public Background {
 public:
  void begin(BackgroundWork& work) override;
  void end(BackgroundWork& work) override;

 private:
  class Job;
  std::mutex mutex_;
  std::map<BackgroundWork*, std::shared_ptr<Job>> jobs_;
};

// Steps these connections of a transport's on the control thread until they are done. The end of the process
// waits for them for a few seconds. Any thread; never blocks.
void linger(std::unique_ptr<Lingering> connections);

}  // namespace comity::control
