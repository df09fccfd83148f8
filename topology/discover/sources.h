// The libraries that discovery asks beside the kernel, side by side and each for a bounded time.
#pragma once

#include <memory>
#include <vector>

#include "src/base/clock.h"
#include "topology/discover/discover.h"

namespace comity::topology {

class LibrarySources {
 public:
  // Starts them all, as the options say.
  explicit LibrarySources(const DiscoverOptions& options);
  ~LibrarySources();
  LibrarySources(const LibrarySources&) = delete;
  LibrarySources& operator=(const LibrarySources&) = delete;
  // Waits for each and merges what it knows; one Finding each. False: one did not answer in time. Call it
  // once.
  bool merge_all(Deadline deadline, Graph& graph, std::vector<Finding>& findings);

 private:
  struct Running;
  std::unique_ptr<Running> running_;
};

}  // namespace comity::topology
