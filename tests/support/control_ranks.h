// Runs ranks of the control plane as threads of the test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "src/control/control.h"

namespace comity::control::testing {

// Every thread calls `body(rank)`; returns when all have.
inline void for_each_rank(uint32_t nranks, const std::function<void(uint32_t rank)>& body) {
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < nranks; ++rank) threads.emplace_back([&body, rank] { body(rank); });
  for (std::thread& thread : threads) thread.join();
}

inline JoinOptions join_options(const UniqueId& id, uint32_t rank, uint32_t nranks,
                                uint64_t within_ms = 30'000) {
  JoinOptions options;
  options.id = id;
  options.rank = rank;
  options.nranks = nranks;
  options.deadline = Deadline::after_ms(within_ms);
  return options;
}

// The sessions of `nranks` ranks that joined, by rank; null where one did not, and then `errors` says why.
struct Joined {
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Status> errors;
  bool all() const {
    return std::ranges::all_of(sessions, [](const auto& session) { return session != nullptr; });
  }
  std::string text() const {
    std::string text;
    for (const Status& error : errors) text += std::string(error.message()) + "\n";
    return text;
  }
};

inline Joined join_all(uint32_t nranks, uint64_t within_ms = 30'000) {
  Joined joined;
  joined.sessions.resize(nranks);
  joined.errors.resize(nranks);
  const auto id = create_unique_id();
  if (!id.ok()) {
    joined.errors.assign(nranks, id.status());
    return joined;
  }
  for_each_rank(nranks, [&](uint32_t rank) {
    auto session = Session::join(join_options(*id, rank, nranks, within_ms));
    if (session.ok()) {
      joined.sessions[rank] = std::move(session).value();
    } else {
      joined.errors[rank] = session.status();
    }
  });
  return joined;
}

// Waits until `condition` holds; false after `within_ms`.
inline bool eventually(const std::function<bool()>& condition, uint64_t within_ms = 10'000) {
  const Deadline deadline = Deadline::after_ms(within_ms);
  while (!condition()) {
    if (deadline.passed()) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace comity::control::testing
