// Calls of blocks whose lengths only their two ends know, as the group sees them: a way of their own.
#include <fmt/core.h>

#include "transports/shm/group.h"

namespace comity::shm {

void ShmGroup::start_varying() {
  varying_.start();
  stage_ = Stage::kVarying;
}

Progress ShmGroup::advance_varying() {
  if (!found_) found_ = find_peers();
  const Progress progress = varying_.advance(found_);
  if (progress == Progress::kDone) stage_ = Stage::kIdle;
  if (progress == Progress::kFailed)
    return fail(varying_.failure().code(), std::string(varying_.failure().message()));
  if (progress != Progress::kMismatch) return progress;
  if (!varying_.lengths())
    return mismatch(varying_.differs(), varying_.meets() ? core_.sequence : rooted_.count());
  const DifferingLengths& lengths = *varying_.lengths();
  stage_ = Stage::kDead;
  error_ =
      Status(Code::kInvalidUsage,
             fmt::format("shm: rank {} gives rank {} {} bytes, and that one takes {}; both must pass the "
                         "same length",
                         lengths.giver, lengths.taker, lengths.given_bytes, lengths.taken_bytes));
  return progress;
}

}  // namespace comity::shm
