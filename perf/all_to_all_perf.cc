// all_to_all_perf: every rank ends with its block of every rank's input. The size is what a rank gives to
// all.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

Shape shape(size_t elements, int nranks) {
  const size_t block = elements / static_cast<size_t>(nranks);
  const size_t whole = block * static_cast<size_t>(nranks);
  return {whole, whole, block};
}

constexpr CollectiveSpec kSpec{
    Collective::kAllToAll,
    false,
    shape,
    others_factor,
    [](const Call& c) { return comityAlltoAll(c.send, c.recv, c.count, c.type, c.comm, nullptr); },
    nullptr,
    false,
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
