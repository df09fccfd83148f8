// One rank as a process: rounding_worker RANK ID_HEX NRANKS ROUNDINGS. Prints what is wrong.
#include <cstdlib>
#include <string>

#include "tests/collectives/rounding_rows.h"
#include "tests/support/spawned_rank.h"

int main(int argc, char** argv) {
  comityUniqueId id;
  if (argc != 5 || !comity::test::from_hex(argv[2], id)) return 2;
  const auto number = [argv](int i) { return static_cast<uint32_t>(std::atoi(argv[i])); };
  return comity::test::be_rank(id, number(3), number(1), [&](comityComm_t comm) {
    return comity::test::run_rounding_rows(comm, number(1), comity::test::rounding_cases(number(3)),
                                           number(4));
  });
}
