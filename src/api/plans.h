// Plans for the engine, chosen by the selector.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <utility>

#include "algorithms/selector.h"
#include "src/engine/plan_source.h"
#include "topology/topology.h"

namespace comity::api {

class SelectedPlans final : public engine::PlanSource {
 public:
  // Until use() is called every collective is planned by the selection given here.
  SelectedPlans(topology::Topology topology, algorithms::Selection selection)
      : topology_(std::move(topology)), selection_(std::move(selection)) {}

  // Takes another topology and its selection. The engine's bindings must be forgotten with it.
  void use(topology::Topology topology, algorithms::Selection selection) {
    topology_ = std::move(topology);
    selection_ = std::move(selection);
  }
  const topology::Topology& topology() const { return topology_; }
  const algorithms::Selection& selection() const { return selection_; }

  // The bit width of the block length, 0..64, and the kind of partial results.
  uint32_t pick(Collective collective, Partials partials, uint64_t block_bytes) override;
  Result<engine::PlannedPart> generate(Collective collective, uint32_t picked, uint32_t root) override;
  // This rank's part of the plan of a range.
  engine::PlannedPart planned(const algorithms::Range& range, Partials partials, uint32_t root,
                              uint64_t block_bytes) const;
  void set_rank(uint32_t rank) { rank_ = rank; }
  // For the log: who plans.
  void set_name(std::string name) { name_ = std::move(name); }

 private:
  topology::Topology topology_;
  algorithms::Selection selection_;
  uint32_t rank_ = 0;
  std::string name_ = "a rank";
};

}  // namespace comity::api
