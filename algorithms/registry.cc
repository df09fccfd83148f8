// The table of all algorithms. Within a collective the order breaks ties of the selector: simpler ones first.
#include <fmt/core.h>

#include <array>

#include "algorithms/catalogue.h"
#include "comity/comity.h"
#include "src/plan/hash.h"

namespace comity::algorithms {

std::span<const Algorithm> all() {
  static const std::array kAll = {
      kAllReduceDirect,
      kAllReduceRing,
      kAllReduceTwoShot,
      kAllReduceRecursiveDoubling,
      kAllReduceHalvingDoubling,
      kAllReduceBinomialTree,
      kAllReduceDoubleBinaryTree,
      kAllReduceHierarchical,
      kAllReduceBalancedDirect,
      kAllReduceBalancedTwoShot,
      kAllReduceGroup,
      kReduceBinomial,
      kReduceChain,
      kReduceDirect,
      kReduceTwoShot,
      kReduceBalancedDirect,
      kReduceBalancedTwoShot,
      kReduceBalancedTree,
      kReduceGroup,
      kBroadcastBinomial,
      kBroadcastChain,
      kBroadcastGroup,
      kAllGatherDirect,
      kAllGatherRing,
      kAllGatherBruck,
      kAllGatherGroup,
      kReduceScatterDirect,
      kReduceScatterRing,
      kReduceScatterHalving,
      kReduceScatterBalanced,
      kReduceScatterGroup,
      kBarrierDissemination,
      kBarrierGroup,
      kAllToAllDirect,
      kAllToAllPairwise,
      kAllToAllBruck,
      kAllToAllGroup,
      kGatherDirect,
      kGatherBinomial,
      kGatherGroup,
      kScatterDirect,
      kScatterBinomial,
      kScatterGroup,
  };
  return kAll;
}

const Algorithm* find(Collective collective, std::string_view name) {
  for (const Algorithm& algorithm : all()) {
    if (algorithm.collective == collective && algorithm.name == name) return &algorithm;
  }
  return nullptr;
}

std::string names_of(Collective collective) {
  std::string names;
  for (const Algorithm& algorithm : all()) {
    if (algorithm.collective != collective) continue;
    if (!names.empty()) names += ", ";
    names += algorithm.name;
  }
  return names;
}

uint64_t hash_of(const Algorithm& algorithm, const Request& request, const plan::Shape& shape) {
  const auto& [topology, root, block_bytes, grouping, narrow, max_lanes] =
      request;  // all there is; grouping is the topology's
  return plan::hash_of(shape, {algorithm.name, COMITY_VERSION_CODE, topology::hash(*topology), root,
                               block_bytes, narrow, max_lanes});
}

Result<plan::Plan> make_plan(const Algorithm& algorithm, const Request& request) {
  const topology::Topology& topology = *request.topology;
  const std::string what = fmt::format("{} by {}", name_of(algorithm.collective), algorithm.name);
  if (topology.nranks() == 0) return Status(Code::kInvalidArgument, what + ": the topology has no ranks");
  if (request.root >= topology.nranks()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{}: root {} of {} ranks; pass 0..{}", what, request.root, topology.nranks(),
                              topology.nranks() - 1));
  }
  if (!algorithm.applies(topology)) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{} does not apply to {} ranks in {} groups; there are {}", what,
                              topology.nranks(), topology.ngroups(), names_of(algorithm.collective)));
  }
  plan::Plan plan;
  plan.shape = algorithm.shape(request);
  plan.parts.reserve(topology.nranks());
  for (uint32_t rank = 0; rank < topology.nranks(); ++rank) {
    plan.parts.push_back(algorithm.part(request, plan.shape, rank));
  }
  return plan;
}

}  // namespace comity::algorithms
