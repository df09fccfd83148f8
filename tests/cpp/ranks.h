// Ranks of one process on comity.hpp: a thread each.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "comity/comity.hpp"

namespace comity::test {

// Runs body(communicator) on `nranks` threads, one for each rank, and waits for all.
inline void on_ranks(int nranks, const std::function<void(Communicator&)>& body) {
  auto comms = Communicator::init_all(nranks);
  ASSERT_TRUE(comms) << comms.error().message;
  std::vector<std::thread> threads;
  for (Communicator& comm : *comms) threads.emplace_back([&] { body(comm); });
  for (std::thread& thread : threads) thread.join();
}

// That a call worked, with its sentence if not.
template <typename T>
testing::AssertionResult worked(const Expected<T>& result) {
  if (result) return testing::AssertionSuccess();
  return testing::AssertionFailure() << result.error().code << ": " << result.error().message;
}

}  // namespace comity::test
