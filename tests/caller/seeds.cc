#include "tests/caller/seeds.h"

#include <fmt/core.h>

#include <functional>
#include <thread>
#include <vector>

#include "tests/caller/reference.h"
#include "tests/caller/runner.h"

namespace comity::test {
namespace {

// What each rank comes to, on a thread of its own.
std::vector<RankOutcome> on_ranks(const Program& program,
                                  const std::function<RankOutcome(uint32_t, comityComm_t)>& body) {
  std::vector<comityComm_t> comms(program.nranks);
  std::vector<RankOutcome> outcomes(program.nranks);
  if (comityCommInitAll(comms.data(), static_cast<int>(program.nranks), nullptr) != comitySuccess) {
    outcomes[0].wrong = fmt::format("init: {}", comityGetLastError(nullptr));
    return outcomes;
  }
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < program.nranks; ++rank) {
    threads.emplace_back([&, rank] { outcomes[rank] = body(rank, comms[rank]); });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

std::string first_wrong(const std::vector<RankOutcome>& outcomes) {
  std::string all;
  for (size_t rank = 0; rank < outcomes.size(); ++rank) {
    if (!outcomes[rank].wrong.empty()) all += fmt::format("rank {}: {}\n", rank, outcomes[rank].wrong);
  }
  return all;
}

}  // namespace

std::string run_seed(uint64_t seed, const Ingredients& ingredients) {
  const Program program = make_program(seed, ingredients);
  const Memory at_first = first_content(program);
  Memory expected = at_first;
  for (const FuzzOp& op : program.ops) apply(program, op, expected);
  return first_wrong(on_ranks(program, [&](uint32_t rank, comityComm_t whole) {
    return run_program(program, rank, whole, at_first[rank], expected[rank]);
  }));
}

std::string run_seed_with_mistake(uint64_t seed, const Ingredients& ingredients, uint64_t deadline_ms,
                                  std::string* told) {
  const Program program = make_program(seed, ingredients);
  const Mistake mistake = plant(program, seed);
  if (mistake.op >= program.ops.size() || program.ops[mistake.op].calls.empty()) return "";
  const Memory at_first = first_content(program);
  const auto outcomes = on_ranks(program, [&](uint32_t rank, comityComm_t whole) {
    return run_mistaken(program, mistake, rank, whole, at_first[rank], deadline_ms);
  });
  if (told != nullptr) {
    *told = fmt::format("{}: {}\n", describe(mistake), describe(program.ops[mistake.op]));
    for (size_t rank = 0; rank < outcomes.size(); ++rank)
      *told += fmt::format("  rank {}: {}\n", rank, outcomes[rank].error_text);
  }
  const std::string wrong = first_wrong(outcomes);
  if (wrong.empty()) return "";
  return fmt::format("{}, {}:\n{}", describe(mistake), describe(program.ops[mistake.op]), wrong);
}

}  // namespace comity::test
