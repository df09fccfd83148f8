// gather_perf: the root ends with the inputs of all, one block each. The size is the whole result.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

constexpr CollectiveSpec kSpec{
    Collective::kGather,
    true,
    gathered_shape,
    others_factor,
    [](const Call& c) { return comityGather(c.send, c.recv, c.count, c.type, c.root, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
