// What tests of the control plane in simulation share. A seed that fails is printed; COMITY_TEST_SEED=n runs
// that one alone.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/control/sim/rank.h"
#include "tests/support/effort.h"

namespace comity::control::sim {

inline constexpr uint32_t kRanks = 24;  // 9 to 16 are below 1, 17 to 23 below 2
inline constexpr uint64_t kWithinMs = 20'000;

// Calls `body` with each of `usual` seeds, until one fails.
inline void for_each_seed(uint64_t usual, const std::function<void(uint64_t seed)>& body) {
  const char* chosen = std::getenv("COMITY_TEST_SEED");
  const uint64_t first = chosen == nullptr ? 1 : std::strtoull(chosen, nullptr, 10);
  const uint64_t count = chosen == nullptr ? test::effort(usual) : 1;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("replay with COMITY_TEST_SEED=" + std::to_string(seed));
    body(seed);
    if (::testing::Test::HasFailure()) return;
  }
}

// A communicator of which nothing is left at its end, whatever came before.
struct Ranks : Communicator {
  using Communicator::Communicator;
  ~Ranks() { EXPECT_EQ(end(), 0u) << "sockets that are never closed, or nodes that never finish"; }
};

inline Bytes bytes_of(const std::string& text) {
  const auto raw = std::as_bytes(std::span(text.data(), text.size()));
  return Bytes(raw.begin(), raw.end());
}

// What the ranks that are alive and not in `aside` heard; each different sentence once, with who heard it.
inline std::string heard_by_all(World& world, Communicator& ranks, const std::set<uint32_t>& aside) {
  const auto is_out = [&](uint32_t rank) { return aside.contains(rank) || world.is_dead(rank); };
  world.run_until(
      [&] {
        for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
          if (!is_out(rank) && ranks[rank].verdict() == nullptr) return false;
        }
        return true;
      },
      kWithinMs);
  std::map<std::string, std::string> by_sentence;
  for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
    if (!is_out(rank)) by_sentence[ranks[rank].verdict_text()] += " " + std::to_string(rank);
  }
  if (by_sentence.size() == 1) return by_sentence.begin()->first;
  std::string text;
  for (const auto& [sentence, who] : by_sentence) text += "ranks" + who + " heard: " + sentence + "\n";
  return text;
}

inline CallRecord all_reduce_call(uint64_t number, uint64_t count) {
  CallRecord record;
  record.number = number;
  record.count = count;
  record.collective = Collective::kAllReduce;
  record.type = DataType::kFloat32;
  record.op = RedOp::kSum;
  record.signature = signature_of(record, 17);
  return record;
}

inline std::string sentence_of(uint32_t rank, const std::string& how) {
  return "rank " + std::to_string(rank) +
         (how == "abort" ? " aborted" : " died or was killed (its control connection closed)");
}

// Whether `heard` is one sentence about one of `fallen`: by abort, or by death however that was noticed.
inline bool names_one_of(const std::string& heard, const std::vector<std::pair<uint32_t, bool>>& fallen) {
  for (const auto& [rank, aborts] : fallen) {
    if (heard == sentence_of(rank, aborts ? "abort" : "kill")) return true;
    if (!aborts && heard == "rank " + std::to_string(rank) + " died or was killed (its process ended)")
      return true;
  }
  return false;
}

}  // namespace comity::control::sim
