// A seed's program, carried out by ranks that are threads.
#pragma once

#include <cstdint>
#include <string>

#include "tests/caller/program.h"

namespace comity::test {

// "" if every rank ended with the right bytes; else the first rank that did not, and why.
std::string run_seed(uint64_t seed, const Ingredients& ingredients);
// The same program with one mistake in it: "" if every rank of the communicator concerned was told an
// error within `deadline_ms`. `told`: of the ranks, one after the other.
std::string run_seed_with_mistake(uint64_t seed, const Ingredients& ingredients, uint64_t deadline_ms,
                                  std::string* told = nullptr);

}  // namespace comity::test
