// reduce_perf: the root ends with the reduction of all inputs.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

constexpr CollectiveSpec kSpec{
    Collective::kReduce,
    true,
    whole_shape,
    whole_factor,
    [](const Call& c) {
      return comityReduce(c.send, c.recv, c.count, c.type, c.op, c.root, c.comm, nullptr);
    },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
