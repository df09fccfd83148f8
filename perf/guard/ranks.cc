#include "perf/guard/ranks.h"

#include <fmt/core.h>

#include <bit>
#include <cstdio>
#include <cstdlib>

#include "algorithms/algorithm.h"
#include "src/base/clock.h"
#include "transports/shm/shm_transport.h"
#include "transports/tcp/tcp_endpoint.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::guard {
namespace {

constexpr uint64_t kPatienceMs = 30'000;
constexpr uint64_t kLatencyBytes = 4096;  // up to here an all-reduce over sockets is bound by latency

TransportContext context_of(uint32_t rank) {
  TransportContext context;
  context.rank = rank;
  context.nranks = kRanks;
  context.communicator = 0x6a7d;
  context.secret.fill(std::byte{7});
  return context;
}

// Which algorithm it is does not depend on what the selector makes of a machine's figures.
class NamedPlans final : public engine::PlanSource {
 public:
  NamedPlans(topology::Topology topology, bool groups, uint32_t rank)
      : topology_(std::move(topology)), groups_(groups), rank_(rank) {}
  uint32_t pick(Collective, Partials, uint64_t block_bytes) override {
    return static_cast<uint32_t>(std::bit_width(block_bytes));
  }
  Result<engine::PlannedPart> generate(Collective collective, uint32_t picked, uint32_t root) override {
    const algorithms::Request request{&topology_, root, uint64_t{1} << (picked - 1)};
    const char* name = groups_                                ? "group"
                       : request.block_bytes <= kLatencyBytes ? "recursive_doubling"
                                                              : "ring";
    const algorithms::Algorithm* algorithm = algorithms::find(collective, name);
    if (algorithm == nullptr) return Status(Code::kInternalError, fmt::format("no algorithm {}", name));
    engine::PlannedPart planned;
    planned.shape = algorithm->shape(request);
    planned.hash = algorithms::hash_of(*algorithm, request, planned.shape);
    planned.part = algorithm->part(request, planned.shape, rank_);
    return planned;
  }

 private:
  topology::Topology topology_;
  bool groups_;
  uint32_t rank_;
};

}  // namespace

void must(const Status& status, const char* what) {
  if (status.ok()) return;
  fmt::print(stderr, "guard: {}: {}\n", what, status.message());
  std::exit(1);
}

struct Ranks::Rank {
  std::unique_ptr<Transport> transport;
  std::unique_ptr<NamedPlans> plans;
  std::unique_ptr<control::CallLog> calls = std::make_unique<control::CallLog>();
  std::unique_ptr<engine::Communicator> engine;
  bool busy = false;
};

Ranks::~Ranks() {
  for (auto& rank : ranks_) rank->engine.reset();
}

void Ranks::add(uint32_t rank, DeviceRegistry& devices, std::unique_ptr<Transport> transport) {
  const bool groups = transport->name() == "shm";
  std::vector<std::string> hosts;
  for (uint32_t r = 0; r < kRanks; ++r) hosts.push_back(groups ? "one" : std::to_string(r));
  auto topology = topology::from_hosts(hosts);
  must(topology.status(), "topology");
  auto made = std::make_unique<Rank>();
  made->transport = std::move(transport);
  made->plans = std::make_unique<NamedPlans>(std::move(topology).value(), groups, rank);
  engine::CommunicatorOptions options;
  options.rank = rank;
  options.nranks = kRanks;
  options.transports = {made->transport.get()};
  options.transport_of_peer.assign(kRanks, 0);
  options.plans = made->plans.get();
  options.devices = &devices;
  options.calls = made->calls.get();
  made->engine = std::make_unique<engine::Communicator>(std::move(options));
  ranks_.push_back(std::move(made));
}

void Ranks::meet() {
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      if (peer == rank) continue;
      must(ranks_[rank]->transport->reach(peer, ranks_[peer]->transport->address()), "reach");
    }
  }
}

Ranks Ranks::over_shared_memory(DeviceRegistry& devices) {
  Ranks ranks;
  shm::ShmOptions options;
  options.address_plain = false;
  options.cores = 64;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    auto transport = shm::make_shm_transport(context_of(rank), options);
    must(transport.status(), "shm");
    ranks.add(rank, devices, std::move(transport).value());
  }
  ranks.meet();
  return ranks;
}

Ranks Ranks::over_tcp(DeviceRegistry& devices) {
  ::setenv("COMITY_SOCKET_ADDRESS", "127.0.0.1", 1);
  Ranks ranks;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    auto transport = tcp::make_tcp_transport(context_of(rank));
    must(transport.status(), "tcp");
    ranks.add(rank, devices, std::move(transport).value());
  }
  ranks.meet();
  ranks.connect();
  return ranks;
}

void Ranks::connect() {
  std::vector<Endpoint*> endpoints;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      if (peer == rank) continue;
      auto made = ranks_[rank]->transport->endpoints(peer);
      must(made.status(), "endpoints");
      endpoints.insert(endpoints.end(), made->begin(), made->end());
    }
  }
  const Deadline deadline = Deadline::after_ms(kPatienceMs);
  for (bool all = false; !all;) {
    if (deadline.passed()) must(Status(Code::kTimeout, "not connected within 30 s"), "tcp");
    for (auto& rank : ranks_) must(rank->transport->progress(), "tcp");
    all = true;
    for (Endpoint* each : endpoints) {
      must(each->status(), "tcp");
      all = all && static_cast<const tcp::TcpEndpoint*>(each)->connected();
    }
  }
}

void Ranks::run(const std::vector<engine::Call>& calls) {
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    must(ranks_[rank]->engine->start(calls[rank]), "start");
    ranks_[rank]->busy = true;
  }
  for (uint32_t left = kRanks; left > 0;) {
    for (auto& rank : ranks_) {
      if (!rank->busy) continue;
      const Progress progress = rank->engine->poll();
      if (progress == Progress::kFailed) must(rank->engine->error(), "poll");
      rank->busy = is_unfinished(progress);
      left -= rank->busy ? 0 : 1;
    }
  }
}

}  // namespace comity::guard
