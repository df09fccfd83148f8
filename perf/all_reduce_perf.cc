// all_reduce_perf: every rank ends with the reduction of all inputs.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

double bus_factor(int nranks) {
  return 2.0 * (nranks - 1) / nranks;
}

constexpr CollectiveSpec kSpec{
    Collective::kAllReduce,
    false,
    whole_shape,
    bus_factor,
    [](const Call& c) { return comityAllReduce(c.send, c.recv, c.count, c.type, c.op, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
