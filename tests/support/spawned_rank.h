// What a test that starts ranks as processes and the programs that it starts share: the id on the command
// line, and a rank that says what was wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "comity/comity.h"

namespace comity::test {

std::string hex_of(const comityUniqueId& id);
// False if it is none.
bool from_hex(const std::string& hex, comityUniqueId& id);

// Joins as `rank` of `nranks`, runs `body`, prints what it says is wrong, and ends in order; a program's exit
// status.
int be_rank(const comityUniqueId& id, uint32_t nranks, uint32_t rank,
            const std::function<std::string(comityComm_t)>& body);

}  // namespace comity::test
