// Random programs by the thousand: `caller_fuzz --seeds 1-10000`. A seed that fails is printed, and replays.
#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/caller/seeds.h"

int main(int argc, char** argv) {
  CLI::App app{"Carries out random programs of calls, and compares with a sequential reference."};
  std::string seeds = "1-100";
  comity::test::Ingredients ingredients;
  uint64_t deadline_ms = 10'000;
  bool mistakes = false, verbose = false, show = false;
  app.add_option("--seeds", seeds, "first-last, or one");
  app.add_option("--ranks", ingredients.nranks, "threads of this process; 0: 1 to 6, by seed");
  app.add_option("--ops", ingredients.ops, "operations of a program");
  app.add_option("--deadline-ms", deadline_ms, "for ranks to be told of a mistake");
  app.add_flag("--mistakes", mistakes, "one rank of each program makes a mistake");
  app.add_flag("--verbose", verbose, "each seed, and what ranks were told");
  app.add_flag("--show", show, "print the programs, and carry out none");
  CLI11_PARSE(app, argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  const size_t dash = seeds.find('-');
  const uint64_t first = std::strtoull(seeds.c_str(), nullptr, 10);
  const uint64_t last =
      dash == std::string::npos ? first : std::strtoull(seeds.c_str() + dash + 1, nullptr, 10);
  const uint32_t nranks = ingredients.nranks;
  uint64_t failed = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    if (nranks == 0)
      ingredients.nranks = static_cast<uint32_t>((mistakes ? 2 : 1) + seed % (mistakes ? 4 : 6));
    if (show) {
      fmt::print("{}", comity::test::text_of(comity::test::make_program(seed, ingredients)));
      continue;
    }
    std::string told;
    if (verbose) fmt::print("seed {}, {} ranks\n", seed, ingredients.nranks);
    const std::string wrong = mistakes
                                  ? comity::test::run_seed_with_mistake(seed, ingredients, deadline_ms, &told)
                                  : comity::test::run_seed(seed, ingredients);
    if (verbose) fmt::print("{}", told);
    if (wrong.empty()) continue;
    ++failed;
    fmt::print("seed {} with {} ranks is wrong:\n{}", seed, ingredients.nranks, wrong);
    std::fflush(stdout);
  }
  fmt::print("{} of {} seeds were right\n", last - first + 1 - failed, last - first + 1);
  return failed == 0 ? 0 : 1;
}
