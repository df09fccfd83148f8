// Streams and events of a test, given back at its end.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "comity/comity.h"

namespace comity::test {

class Streams {
 public:
  explicit Streams(size_t count) : streams_(count) {
    for (comityStream_t& stream : streams_)
      EXPECT_EQ(comityStreamCreate(&stream), comitySuccess) << comityGetLastError(nullptr);
  }
  ~Streams() {
    for (comityStream_t stream : streams_) EXPECT_EQ(comityStreamDestroy(stream), comitySuccess);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;
  comityStream_t operator[](size_t i) const { return streams_[i]; }
  // Waits for all; the first error.
  comityResult_t synchronize() const {
    comityResult_t first = comitySuccess;
    for (comityStream_t stream : streams_) {
      const comityResult_t result = comityStreamSynchronize(stream);
      if (first == comitySuccess) first = result;
    }
    return first;
  }

 private:
  std::vector<comityStream_t> streams_;
};

class Event {
 public:
  Event() { EXPECT_EQ(comityEventCreate(&event_), comitySuccess) << comityGetLastError(nullptr); }
  ~Event() { EXPECT_EQ(comityEventDestroy(event_), comitySuccess); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator comityEvent_t() const { return event_; }  // NOLINT(google-explicit-constructor): as in C

 private:
  comityEvent_t event_ = nullptr;
};

}  // namespace comity::test
