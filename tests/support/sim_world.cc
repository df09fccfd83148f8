#include "tests/support/sim_world.h"

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>

namespace comity::test {

SimWorld::SimWorld(SimWorldOptions options) : options_(std::move(options)) {
  if (options_.topology.group_of_rank.empty()) options_.topology = topology::one_host(options_.nranks);
  options_.topology.inside.direct = false;
  auto selection = algorithms::Selection::make(options_.topology, options_.forced, options_.rules);
  if (!selection.ok()) {
    fmt::print(stderr, "SimWorld: {}\n", selection.status().message());
    std::abort();
  }
  network_ = std::make_unique<sim::Network>(options_.seed, options_.nranks, options_.network);
  for (uint32_t r = 0; r < options_.nranks; ++r) {
    transports_.push_back(network_->make_transport(r));
    plans_.push_back(std::make_unique<api::SelectedPlans>(options_.topology, *selection));
    plans_.back()->set_rank(r);
    engine::CommunicatorOptions made;
    made.rank = r;
    made.nranks = options_.nranks;
    made.transports = {transports_[r].get()};
    made.transport_of_peer.assign(options_.nranks, 0);
    made.plans = plans_[r].get();
    made.devices = options_.devices;
    made.release = options_.release;
    ranks_.push_back(std::make_unique<engine::Communicator>(std::move(made)));
  }
  for (uint32_t r = 0; r < options_.nranks; ++r) {
    for (uint32_t peer = 0; peer < options_.nranks; ++peer) {
      if (peer == r) continue;
      const Status reached = transports_[r]->reach(peer, transports_[peer]->address());
      if (!reached.ok()) {
        fmt::print(stderr, "SimWorld: reach: {}\n", reached.message());
        std::abort();
      }
    }
  }
}

SimWorld::~SimWorld() {
  ranks_.clear();
}

Status SimWorld::run(const std::vector<engine::Call>& calls) {
  return run(calls, std::vector<uint32_t>(options_.nranks, 0));
}

Status SimWorld::run(const std::vector<engine::Call>& calls, const std::vector<uint32_t>& start_after) {
  std::vector<bool> started(options_.nranks, false), finished(options_.nranks, false);
  uint32_t left = options_.nranks;
  for (uint32_t round = 0; left > 0; ++round) {
    const uint64_t events = network_->event_count();
    bool waiting_to_start = false;
    for (uint32_t r = 0; r < options_.nranks; ++r) {
      if (finished[r]) continue;
      if (!started[r]) {
        if (round < start_after[r]) {
          waiting_to_start = true;
          continue;
        }
        if (Status status = ranks_[r]->start(calls[r]); !status.ok())
          return status.in(fmt::format("rank {}", r));
        started[r] = true;
      }
      const Progress progress = ranks_[r]->poll();
      if (progress == Progress::kFailed) return ranks_[r]->error().in(fmt::format("rank {}", r));
      if (progress != Progress::kDone) continue;
      finished[r] = true;
      --left;
    }
    if (left == 0 || network_->advance() || waiting_to_start || network_->event_count() != events) continue;
    // Device work completes by polling, not by the network's time: give it some rounds before calling it a
    // deadlock.
    if (++quiet_rounds_ > 10'000)
      return Status(Code::kInternalError,
                    fmt::format("deadlock: {} ranks unfinished and nothing in flight", left));
  }
  quiet_rounds_ = 0;
  return {};
}

Status SimWorld::run_sequences(const std::vector<std::vector<engine::Call>>& calls) {
  std::vector<size_t> next(options_.nranks, 0);
  std::vector<bool> busy(options_.nranks, false);
  for (uint32_t quiet = 0; quiet < 10'000;) {
    bool left = false;
    for (uint32_t r = 0; r < options_.nranks; ++r) {
      if (!busy[r]) {
        if (next[r] == calls[r].size()) continue;
        if (Status status = ranks_[r]->start(calls[r][next[r]++]); !status.ok())
          return status.in(fmt::format("rank {}", r));
        busy[r] = true;
      }
      const Progress progress = ranks_[r]->poll();
      if (progress == Progress::kFailed) return ranks_[r]->error().in(fmt::format("rank {}", r));
      busy[r] = progress != Progress::kDone;
      left = left || busy[r] || next[r] < calls[r].size();
    }
    if (!left) return {};
    quiet = network_->advance() ? 0 : quiet + 1;
  }
  return Status(Code::kInternalError, "deadlock: ranks are unfinished and nothing is in flight");
}

}  // namespace comity::test
