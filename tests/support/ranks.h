// Ranks as threads of the test, each with its handle.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "comity/comity.h"

namespace comity::test {

// Communicators of one process. Destroyed at the end unless a test took them (set to null).
class Ranks {
 public:
  explicit Ranks(int nranks) : comms(static_cast<size_t>(nranks)) {
    EXPECT_EQ(comityCommInitAll(comms.data(), nranks, nullptr), comitySuccess) << comityGetLastError(nullptr);
  }
  ~Ranks() {
    for (comityComm_t comm : comms) {
      if (comm != nullptr) static_cast<void>(comityCommDestroy(comm));
    }
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // Runs body(rank, comm) on a thread for each rank and waits for all.
  void run(const std::function<void(int, comityComm_t)>& body) {
    std::vector<std::thread> threads;
    for (size_t r = 0; r < comms.size(); ++r) {
      threads.emplace_back([this, &body, r] { body(static_cast<int>(r), comms[r]); });
    }
    for (auto& thread : threads) thread.join();
  }

  std::vector<comityComm_t> comms;
};

}  // namespace comity::test
