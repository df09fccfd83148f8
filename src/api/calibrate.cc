#include "src/api/calibrate.h"

#include <algorithm>
#include <array>
#include <vector>

#include "src/base/clock.h"

namespace comity::api {
namespace {

constexpr uint64_t kSmallBytes = 64;
constexpr uint64_t kLargeBytes = 256 * 1024;
constexpr int kSmallCalls = 15;
constexpr int kLargeCalls = 5;

engine::Call all_reduce(DataType type, RedOp op, uint64_t count, const void* input, void* output) {
  engine::Call call;
  call.collective = Collective::kAllReduce;
  call.type = type;
  call.op = op;
  call.count = count;
  call.input = input;
  call.output = output;
  return call;
}

// Median time of an all-reduce of `bytes`.
Result<uint64_t> time_ns(engine::Communicator& engine, uint64_t bytes, int calls, std::vector<std::byte>& in,
                         std::vector<std::byte>& out) {
  std::vector<uint64_t> times;
  for (int i = 0; i <= calls; ++i) {
    const uint64_t began = now_ns();
    COMITY_RETURN_IF_ERROR(
        engine.run(all_reduce(DataType::kUint8, RedOp::kMax, bytes, in.data(), out.data())));
    if (i > 0) times.push_back(now_ns() - began);  // the first one connects and binds
  }
  std::nth_element(times.begin(), times.begin() + calls / 2, times.end());
  return times[static_cast<size_t>(calls / 2)];
}

}  // namespace

Result<std::optional<Measured>> calibrate(engine::Communicator& engine, SelectedPlans& plans) {
  const topology::Topology& topology = plans.topology();
  const bool across = topology.ngroups() > 1;
  const bool sockets_inside = !across && topology.nranks() > 1 && !topology.inside.direct;
  if (!across && !sockets_inside) return std::optional<Measured>();
  const algorithms::Algorithm* ring = algorithms::find(Collective::kAllReduce, "ring");
  if (ring == nullptr) return Status(Code::kInternalError, "there is no all_reduce:ring to calibrate with");
  std::vector<std::byte> in(kLargeBytes), out(kLargeBytes);
  plans.force(ring);
  auto small = time_ns(engine, kSmallBytes, kSmallCalls, in, out);
  auto large = small.ok() ? time_ns(engine, kLargeBytes, kLargeCalls, in, out) : small;
  std::array<uint64_t, 2> mine{}, worst{};
  if (large.ok()) {
    mine = {*small, *large};
    const Status agreed =
        engine.run(all_reduce(DataType::kUint64, RedOp::kMax, mine.size(), mine.data(), worst.data()));
    if (!agreed.ok()) large = agreed;
  }
  plans.force(nullptr);
  if (!large.ok()) return large.status();
  // Ring: 2 (p - 1) latencies, and 2 (p - 1) / p of the bytes over the slowest path of the circle.
  const uint64_t p = topology.nranks();
  const uint64_t transfer_ns = std::max<uint64_t>(1, worst[1] - std::min(worst[0], worst[1] - 1));
  Measured measured;
  measured.way = across ? topology::Way::kNetwork : topology::Way::kLoopback;
  measured.latency_ns = std::max<uint64_t>(1, worst[0] / (2 * (p - 1)));
  measured.bandwidth_bytes_per_s =
      std::max<uint64_t>(1'000'000, 2 * (p - 1) * kLargeBytes * 1'000'000'000u / p / transfer_ns);
  return std::optional(measured);
}

}  // namespace comity::api
