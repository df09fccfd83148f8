// all_to_all_v_perf: as all_to_all_perf, with blocks of one to nranks units of elements. The size is what a
// rank gives to all, the count is the unit.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

// Each rank gives 1 + 2 + ... + nranks units.
Shape shape(size_t elements, int nranks) {
  const auto n = static_cast<size_t>(nranks);
  const size_t units = n * (n + 1) / 2, unit = elements / units;
  return {unit * units, unit * units, unit};
}

constexpr CollectiveSpec kSpec{
    Collective::kAllToAllV,
    false,
    shape,
    others_factor,
    [](const Call& c) {
      return comityAlltoAllV(c.send, c.send_counts, nullptr, c.recv, c.recv_counts, nullptr, c.type, c.comm,
                             nullptr);
    },
    nullptr,
    false,
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
