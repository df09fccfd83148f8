// broadcast_perf: every rank ends with the root's input.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

constexpr CollectiveSpec kSpec{
    Collective::kBroadcast,
    true,
    whole_shape,
    whole_factor,
    [](const Call& c) { return comityBroadcast(c.send, c.recv, c.count, c.type, c.root, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
