// all_gather_perf: every rank ends with the inputs of all, one block each. The size is the whole result.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

constexpr CollectiveSpec kSpec{
    Collective::kAllGather,
    false,
    gathered_shape,
    others_factor,
    [](const Call& c) { return comityAllGather(c.send, c.recv, c.count, c.type, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
