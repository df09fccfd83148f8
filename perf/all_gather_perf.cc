// all_gather_perf: every rank ends with the inputs of all, one block each. The size is the whole result.
#include "perf/core/perf_main.h"

namespace comity::perf {
namespace {

Shape shape(size_t elements, int nranks) {
  const size_t block = elements / static_cast<size_t>(nranks);
  return {block, block * static_cast<size_t>(nranks), block};
}

double bus_factor(int nranks) {
  return (nranks - 1.0) / nranks;
}

constexpr CollectiveSpec kSpec{
    Collective::kAllGather,
    false,
    shape,
    bus_factor,
    [](const Call& c) { return comityAllGather(c.send, c.recv, c.count, c.type, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
