// One rank of a communicator as a process: rank_worker ID RANK NRANKS. Joins, says "joined" or "failed TEXT",
// then answers one line per line of standard input:
//   arenas N    allocates small blocks until they lie in N arenas, and keeps one of each; "ok"
//   sum         an all-reduce in place on each block that is kept; "right", "wrong" or "failed TEXT"
//   free        gives all of them back; "ok"
//   mappings    how many arenas, its own and others', are mapped here
// and to those of rank_calls.h. Ends when standard input does.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "comity/comity.h"
#include "tests/support/control_process.h"
#include "tests/support/rank_blocks.h"
#include "tests/support/rank_calls.h"

namespace {

using comity::test::RankBlocks;
using comity::test::RankCalls;

void say(const std::string& line) {
  std::cout << line << std::endl;
}

std::string answer(const std::string& line, RankBlocks& blocks, RankCalls& calls, comityComm_t comm) {
  std::istringstream words(line);
  std::string verb;
  size_t count = 0;
  words >> verb >> count;
  if (verb == "arenas") return blocks.allocate(count) ? "ok" : "failed to allocate";
  if (verb == "sum") return blocks.sum(comm);
  if (verb == "free") return blocks.release(), "ok";
  if (verb == "mappings") return std::to_string(comity::test::mapped_arenas());
  return calls.answer(line).value_or("no such command");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto bytes = comity::control::testing::id_from_hex(argv[1]);
  comityUniqueId id;
  std::copy_n(reinterpret_cast<const char*>(bytes.data()), sizeof id.internal, id.internal);
  comityComm_t comm = nullptr;
  if (comityCommInitRank(&comm, std::atoi(argv[3]), id, std::atoi(argv[2])) != comitySuccess) {
    say(std::string("failed ") + comityGetLastError(nullptr));
    return 1;
  }
  say("joined");
  RankBlocks blocks;
  RankCalls calls(comm);
  for (std::string line; std::getline(std::cin, line);) say(answer(line, blocks, calls, comm));
  return 0;
}
