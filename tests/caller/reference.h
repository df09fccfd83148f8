// What a program of calls must do to everybody's buffers: carried out one call after the other, in plain
// loops.
#pragma once

#include <cstddef>
#include <vector>

#include "tests/caller/program.h"

namespace comity::test {

// Buffers of all ranks: [rank][buffer][byte].
using Memory = std::vector<std::vector<std::vector<std::byte>>>;

// What they hold at first: from the program's seed.
Memory first_content(const Program& program);
// Carries out one operation.
void apply(const Program& program, const FuzzOp& op, Memory& memory);

// Where a member's input and output of a call begin: in place, one of them lies in the other.
struct Sides {
  Place input, output;
};
Sides sides_of(const FuzzCall& call, uint32_t member);

}  // namespace comity::test
