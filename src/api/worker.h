// The thread of a communicator that makes, splits or finalizes it behind the caller's back. There while it
// has something to do.
#pragma once

#include <functional>

#include "comity/comity.h"

namespace comity::api {

// Runs `body` on it, after what it was given before. By the thread inside a call. Throws what std::thread
// throws; then it will not run.
void start_worker(comityComm_t comm, std::function<void()> body);
// Waits for all that it was given; the first of those that call it at once.
void join_worker(comityComm_t comm);

}  // namespace comity::api
