// One rank as a process: rounding_worker RANK ID_HEX NRANKS ROUNDINGS. Prints what is wrong.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/collectives/rounding_rows.h"

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const auto number = [argv](int i) { return static_cast<uint32_t>(std::atoi(argv[i])); };
  const std::string hex = argv[2];
  comityUniqueId id;
  if (hex.size() != 2 * sizeof id.internal) return 2;
  for (size_t i = 0; i < sizeof id.internal; ++i)
    id.internal[i] = static_cast<char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  comityComm_t comm = nullptr;
  if (comityCommInitRank(&comm, static_cast<int>(number(3)), id, static_cast<int>(number(1))) !=
      comitySuccess) {
    std::printf("init: %s\n", comityGetLastError(nullptr));
    return 1;
  }
  const std::string wrong =
      comity::test::run_rounding_rows(comm, number(1), comity::test::rounding_cases(number(3)), number(4));
  std::printf("%s\n", wrong.c_str());
  return comityCommDestroy(comm) == comitySuccess && wrong.empty() ? 0 : 1;
}
