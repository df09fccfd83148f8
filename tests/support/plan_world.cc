#include "tests/support/plan_world.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "src/device/registry.h"
#include "src/plan/hash.h"
#include "tests/support/pattern.h"
#include "transports/shm/shm_transport.h"

namespace comity::test {
namespace {

// More rounds without a move than any spin, stall or hand-over takes.
constexpr uint32_t kQuietRounds = 300;

void must(const Status& status, const char* what) {
  if (status.ok()) return;
  fmt::print(stderr, "PlanWorld: {}: {}\n", what, status.message());
  std::abort();
}

DeviceRegistry& host_alone() {
  static DeviceRegistry& registry = *DeviceRegistry::open("")->release();
  return registry;
}

// Whatever is asked, it is this plan.
class OnePlan final : public engine::PlanSource {
 public:
  OnePlan(const plan::Plan& plan, uint32_t rank) : plan_(plan), rank_(rank) {}
  uint32_t pick(Collective, Partials, uint64_t) override { return 1; }
  Result<engine::PlannedPart> generate(Collective, uint32_t, uint32_t) override {
    return engine::PlannedPart{plan_.shape, plan_.parts[rank_], plan::hash_of(plan_), false, false};
  }

 private:
  const plan::Plan& plan_;
  uint32_t rank_;
};

// One rank's buffers; in place they overlap as NCCL's do.
struct Buffers {
  std::vector<std::byte> memory;
  std::byte *input = nullptr, *output = nullptr;

  Buffers(const Row& row, uint32_t rank) {
    const uint64_t in = input_count(row) * sizeof(int32_t), out = output_count(row) * sizeof(int32_t);
    const uint64_t most = std::max(in, out), block = row.count * sizeof(int32_t);
    memory.assign(2 * most + 64, std::byte{0xee});
    input = memory.data();
    output = row.in_place ? input : input + most;
    if (row.in_place && has_output_blocks(row.collective)) input += rank * block;
    if (row.in_place && has_input_blocks(row.collective)) output += rank * block;
    fill_input(row, rank, input);
  }
  bool right(const Row& row, uint32_t rank) const {
    if (!has_output(row, rank)) return true;
    std::vector<std::byte> want(output_count(row) * sizeof(int32_t));
    fill_expected(row, rank, want.data());
    return std::memcmp(want.data(), output, want.size()) == 0;
  }
};

}  // namespace

struct PlanWorld::Rank {
  std::unique_ptr<Transport> shm, sim;
  std::unique_ptr<OnePlan> plans;
  std::unique_ptr<engine::Communicator> engine;
  bool busy = false;
  ~Rank() { engine.reset(); }
};

PlanWorld::PlanWorld(plan::Plan plan, const std::vector<uint32_t>& host_of_rank)
    : plan_(std::move(plan)), network_(std::make_unique<sim::Network>(1, plan_.shape.nranks)) {
  const uint32_t nranks = plan_.shape.nranks;
  for (uint32_t r = 0; r < nranks; ++r) {
    auto rank = std::make_unique<Rank>();
    TransportContext context;
    context.rank = r;
    context.nranks = nranks;
    shm::ShmOptions threads;
    threads.cores = 64;
    auto made = shm::make_shm_transport(context, threads);
    must(made.status(), "shm");
    rank->shm = std::move(made).value();
    rank->sim = network_->make_transport(r);
    rank->plans = std::make_unique<OnePlan>(plan_, r);
    engine::CommunicatorOptions options;
    options.rank = r;
    options.nranks = nranks;
    options.transports = {rank->shm.get(), rank->sim.get()};
    for (uint32_t peer = 0; peer < nranks; ++peer)
      options.transport_of_peer.push_back(host_of_rank[peer] == host_of_rank[r] ? 0 : 1);
    options.plans = rank->plans.get();
    options.devices = &host_alone();
    rank->engine = std::make_unique<engine::Communicator>(std::move(options));
    ranks_.push_back(std::move(rank));
  }
  for (uint32_t r = 0; r < nranks; ++r) {
    for (uint32_t peer = 0; peer < nranks; ++peer) {
      if (peer == r) continue;
      const bool together = host_of_rank[peer] == host_of_rank[r];
      Transport& mine = together ? *ranks_[r]->shm : *ranks_[r]->sim;
      must(mine.reach(peer, (together ? *ranks_[peer]->shm : *ranks_[peer]->sim).address()), "reach");
    }
  }
}

PlanWorld::~PlanWorld() {
  for (auto& rank : ranks_) rank->engine.reset();
}

Status PlanWorld::run(uint64_t count, bool in_place) {
  const Row row{plan_.shape.collective,
                DataType::kInt32,
                RedOp::kSum,
                plan_.shape.nranks,
                plan_.shape.root,
                count,
                in_place};
  std::vector<Buffers> buffers;
  for (uint32_t r = 0; r < ranks_.size(); ++r) buffers.emplace_back(row, r);
  for (uint32_t r = 0; r < ranks_.size(); ++r) {
    engine::Call call;
    call.collective = row.collective;
    call.type = row.type;
    call.op = row.op;
    call.count = row.count;
    call.root = row.root;
    call.input = buffers[r].input;
    call.output = buffers[r].output;
    const Status started = ranks_[r]->engine->start(call);
    if (!started.ok()) return started.in(fmt::format("rank {}", r));
    ranks_[r]->busy = true;
  }
  COMITY_RETURN_IF_ERROR(poll_to_the_end());
  for (uint32_t r = 0; r < ranks_.size(); ++r) {
    if (!buffers[r].right(row, r))
      return Status(Code::kInternalError, fmt::format("rank {} has a wrong result", r));
  }
  return {};
}

Status PlanWorld::poll_to_the_end() {
  for (uint32_t quiet = 0; quiet < kQuietRounds; ++quiet) {
    bool busy = false;
    for (uint32_t r = 0; r < ranks_.size(); ++r) {
      if (!ranks_[r]->busy) continue;
      const Progress progress = ranks_[r]->engine->poll();
      if (progress == Progress::kFailed) return ranks_[r]->engine->error().in(fmt::format("rank {}", r));
      if (progress != Progress::kBusy) quiet = 0;
      ranks_[r]->busy = progress != Progress::kDone;
      busy = busy || ranks_[r]->busy;
    }
    if (!busy) return {};
    if (network_->advance()) quiet = 0;
  }
  std::string waiting;
  for (uint32_t r = 0; r < ranks_.size(); ++r) {
    if (ranks_[r]->busy) waiting += fmt::format(" {}", r);
  }
  return Status(Code::kInternalError, fmt::format("deadlock: these ranks wait for ever:{}", waiting));
}

}  // namespace comity::test
