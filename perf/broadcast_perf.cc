// broadcast_perf: every rank ends with the root's input.
#include "perf/core/perf_main.h"

namespace comity::perf {
namespace {

Shape shape(size_t elements, int /*nranks*/) {
  return {elements, elements, elements};
}

double bus_factor(int /*nranks*/) {
  return 1;
}

constexpr CollectiveSpec kSpec{
    Collective::kBroadcast,
    true,
    shape,
    bus_factor,
    [](const Call& c) { return comityBroadcast(c.send, c.recv, c.count, c.type, c.root, c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
