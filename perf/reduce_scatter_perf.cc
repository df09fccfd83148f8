// reduce_scatter_perf: rank r ends with the reduction of all blocks r. The size is a whole input.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

constexpr CollectiveSpec kSpec{
    Collective::kReduceScatter,
    false,
    scattered_shape,
    others_factor,
    [](const Call& c) { return comityReduceScatter(c.send, c.recv, c.count, c.type, c.op, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
