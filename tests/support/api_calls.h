// What tests of the C API say often.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/base/clock.h"

namespace comity::test {

// The sentence of this thread's last error.
inline std::string last() {
  return comityGetLastError(nullptr);
}

// An all-reduce in place.
inline comityResult_t sum(std::vector<int64_t>& buffer, comityComm_t comm, comityStream_t stream) {
  return comityAllReduce(buffer.data(), buffer.data(), buffer.size(), comityInt64, comitySum, comm, stream);
}

// What GetAsyncError says once it no longer says comityInProgress; comityInProgress after 20 s.
inline comityResult_t settled(comityComm_t comm) {
  const Deadline deadline = Deadline::after_ms(20'000);
  comityResult_t result = comityInProgress;
  while (result == comityInProgress && !deadline.passed()) {
    EXPECT_EQ(comityCommGetAsyncError(comm, &result), comitySuccess);
    std::this_thread::yield();
  }
  return result;
}

// The error that a communicator hears of behind the caller's back, once it has: success if none comes.
inline comityResult_t heard(comityComm_t comm) {
  const Deadline deadline = Deadline::after_ms(20'000);
  comityResult_t result = settled(comm);
  while (result == comitySuccess && !deadline.passed()) {
    std::this_thread::yield();
    result = settled(comm);
  }
  return result;
}

}  // namespace comity::test
