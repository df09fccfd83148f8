// send_recv_perf: every rank sends to the next and receives from the one before, in a ring, as one group.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

comityResult_t exchange(const Call& c) {
  comityGroupStart();
  comitySend(c.send, c.count, c.type, (c.rank + 1) % c.nranks, c.comm, nullptr);
  comityRecv(c.recv, c.count, c.type, (c.rank + c.nranks - 1) % c.nranks, c.comm, nullptr);
  return comityGroupEnd();  // tells what was refused inside, too
}

constexpr CollectiveSpec kSpec{
    Collective::kExchange, false, whole_shape, whole_factor, exchange, "send_recv", false,
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
