// Carries out one rank's side of a program through the C API.
#pragma once

#include <string>
#include <vector>

#include "comity/comity.h"
#include "tests/caller/program.h"
#include "tests/caller/reference.h"

namespace comity::test {

struct RankOutcome {
  std::string wrong;       // "" if all is as it should be
  std::string error_text;  // of a program with a mistake: what comm's ranks were told
};

// Of a program without a mistake: what is wrong with this rank's buffers, or "". `expected`: of this rank.
RankOutcome run_program(const Program& program, uint32_t rank, comityComm_t whole,
                        const std::vector<std::vector<std::byte>>& at_first,
                        const std::vector<std::vector<std::byte>>& expected);

// Of a program in which one rank makes a mistake: "" if this rank, a member of the communicator concerned,
// was told an error of it (error_text) within `deadline_ms`, or is none.
RankOutcome run_mistaken(const Program& program, const Mistake& mistake, uint32_t rank, comityComm_t whole,
                         const std::vector<std::vector<std::byte>>& at_first, uint64_t deadline_ms);

}  // namespace comity::test
