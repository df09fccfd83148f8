// scatter_perf: rank r ends with the root's block r. The size is the root's whole input.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

constexpr CollectiveSpec kSpec{
    Collective::kScatter,
    true,
    scattered_shape,
    others_factor,
    [](const Call& c) { return comityScatter(c.send, c.recv, c.count, c.type, c.root, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
