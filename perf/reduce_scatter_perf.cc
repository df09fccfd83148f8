// reduce_scatter_perf: rank r ends with the reduction of all blocks r. The size is a whole input.
#include "perf/core/perf_main.h"

namespace comity::perf {
namespace {

Shape shape(size_t elements, int nranks) {
  const size_t block = elements / static_cast<size_t>(nranks);
  return {block * static_cast<size_t>(nranks), block, block};
}

double bus_factor(int nranks) {
  return (nranks - 1.0) / nranks;
}

constexpr CollectiveSpec kSpec{
    Collective::kReduceScatter,
    false,
    shape,
    bus_factor,
    [](const Call& c) { return comityReduceScatter(c.send, c.recv, c.count, c.type, c.op, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
