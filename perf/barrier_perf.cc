// barrier_perf: no rank ends before all have come. No data, so a single row of size 0.
#include "perf/core/perf_main.h"

namespace comity::perf {
namespace {

Shape shape(size_t /*elements*/, int /*nranks*/) {
  return {};
}

double bus_factor(int /*nranks*/) {
  return 0;
}

constexpr CollectiveSpec kSpec{
    Collective::kBarrier,
    false,
    shape,
    bus_factor,
    [](const Call& c) { return comityBarrier(c.comm, nullptr); },
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
