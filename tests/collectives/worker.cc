// One rank as a process: worker RANK ID_HEX CHOICE. Prints "rows wrong" and, on the next line, the first
// wrong row.
#include <cstdio>
#include <cstdlib>

#include "tests/collectives/runner.h"
#include "tests/support/spawned_rank.h"

int main(int argc, char** argv) {
  using comity::test::decode_choice;
  if (argc != 4) return 2;
  const auto rank = static_cast<uint32_t>(std::atoi(argv[1]));
  comityUniqueId id;
  if (!comity::test::from_hex(argv[2], id)) return 2;
  const auto choice = decode_choice(argv[3]);
  comityComm_t comm = nullptr;
  if (comityCommInitRank(&comm, static_cast<int>(choice.nranks), id, static_cast<int>(rank)) !=
      comitySuccess) {
    std::printf("0 0\ninit: %s\n", comityGetLastError(nullptr));
    return 1;
  }
  const auto report = comity::test::run_rows(comm, rank, comity::test::make_rows(choice), 0, choice.devices);
  std::printf("%llu %llu\n%s\n", static_cast<unsigned long long>(report.rows),
              static_cast<unsigned long long>(report.wrong_rows), report.first_wrong.c_str());
  return comityCommDestroy(comm) == comitySuccess && report.wrong_rows == 0 ? 0 : 1;
}
