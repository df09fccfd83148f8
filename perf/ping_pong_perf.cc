// ping_pong_perf: the first of two ranks sends and then receives, the second the other way round. A call is
// there and back, so half of its time is what ib_send_lat, osu_latency and ucx_perftest call latency.
#include "perf/core/perf_main.h"
#include "perf/core/shapes.h"

namespace comity::perf {
namespace {

comityResult_t there_and_back(const Call& c) {
  if (c.nranks != 2) return comityInvalidUsage;
  const int peer = 1 - c.rank;
  const auto send = [&] { return comitySend(c.send, c.count, c.type, peer, c.comm, nullptr); };
  const auto receive = [&] { return comityRecv(c.recv, c.count, c.type, peer, c.comm, nullptr); };
  const comityResult_t first = c.rank == 0 ? send() : receive();
  if (first != comitySuccess) return first;
  return c.rank == 0 ? receive() : send();
}

constexpr CollectiveSpec kSpec{
    Collective::kExchange, false, whole_shape, whole_factor, there_and_back, "ping_pong", false,
};

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::perf_main(comity::perf::kSpec, argc, argv);
}
