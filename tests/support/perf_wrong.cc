// An all_reduce_perf whose all-reduce is wrong, for the test that the checker notices. Which way is in
// the variable PERF_WRONG: "bit" flips one bit of one element on rank 1, "stale" skips a call, "guard" writes
// one byte too many, "input" spoils the send buffer.
#include <cstdlib>
#include <string>

#include "perf/core/perf_main.h"

namespace comity::perf {
namespace {

std::string fault;

comityResult_t wrong_all_reduce(const Call& c) {
  int rank = 0;
  comityCommUserRank(c.comm, &rank);
  static int calls = 0;
  const bool skips = fault == "stale" && ++calls % 3 == 0;
  const comityResult_t result =
      skips ? comitySuccess : comityAllReduce(c.send, c.recv, c.count, c.type, c.op, c.comm, nullptr);
  auto* bytes = static_cast<unsigned char*>(c.recv);
  if (fault == "bit" && rank == 1) bytes[c.count / 2 * 4] ^= 1;
  if (fault == "guard") bytes[c.count * 4] = 0;
  if (fault == "input" && c.send != c.recv) static_cast<unsigned char*>(const_cast<void*>(c.send))[0] ^= 1;
  return result;
}

constexpr CollectiveSpec kSpec{
    Collective::kAllReduce,
    false,
    [](size_t elements, int /*nranks*/) {
      return Shape{elements, elements, elements};
    },
    [](int /*nranks*/) { return 1.0; },
    wrong_all_reduce,
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  const char* chosen = std::getenv("PERF_WRONG");
  comity::perf::fault = chosen != nullptr ? chosen : "";
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
