#include "src/cli/measure_cluster.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "comity/comity.h"
#include "src/api/id_file.h"
#include "src/base/hash.h"
#include "src/base/this_host.h"
#include "src/cli/measure_pair.h"
#include "topology/agree.h"
#include "topology/json.h"
#include "topology/planning.h"
#include "topology/turns.h"

namespace comity::cli {
namespace {

// Machines are told apart as transports do: by boot and network namespace.
uint64_t host_key() {
  return mix(hash_text(boot_id()), network_namespace());
}

struct Outcome {
  uint32_t from = 0, to = 0;
  uint64_t shm = 0;  // 1: over shared memory
  uint64_t latency_ns = 0, bandwidth_bytes_per_s = 0;
};

// The communicator of all ranks, for ids and results between turns.
class Everyone {
 public:
  explicit Everyone(const Job& job) : job_(job) {}
  ~Everyone() {
    if (comm_ != nullptr) (void)comityCommDestroy(comm_);
  }
  Everyone(const Everyone&) = delete;
  Everyone& operator=(const Everyone&) = delete;

  Status meet() {
    comityUniqueId id;
    if (job_.rank == 0) {
      COMITY_RETURN_IF_ERROR(said(comityGetUniqueId(&id)));
      COMITY_RETURN_IF_ERROR(api::write_id_file(job_.id_file, id));
    } else {
      COMITY_ASSIGN_OR_RETURN(id, api::await_id_file(job_.id_file));
    }
    const Status status = said(comityCommInitRank(&comm_, job_.nranks, id, job_.rank));
    if (job_.rank == 0) (void)std::remove(job_.id_file.c_str());
    return status;
  }

  // Every rank's `mine`, by rank.
  template <typename T>
  Result<std::vector<T>> gather(const T& mine) {
    std::vector<T> all(static_cast<size_t>(job_.nranks));
    COMITY_RETURN_IF_ERROR(
        said(comityAllGather(&mine, all.data(), sizeof mine, comityUint8, comm_, nullptr)));
    return all;
  }
  Result<std::vector<std::string>> gather_texts(const std::string& mine) {
    COMITY_ASSIGN_OR_RETURN(const auto lengths, gather<uint64_t>(mine.size()));
    const uint64_t longest = *std::max_element(lengths.begin(), lengths.end());
    std::string padded = mine, all(longest * lengths.size(), '\0');
    padded.resize(longest);
    COMITY_RETURN_IF_ERROR(
        said(comityAllGather(padded.data(), all.data(), longest, comityUint8, comm_, nullptr)));
    std::vector<std::string> texts;
    for (size_t rank = 0; rank < lengths.size(); ++rank)
      texts.push_back(all.substr(rank * longest, lengths[rank]));
    return texts;
  }

 private:
  Status said(comityResult_t result) const {
    return result == comitySuccess ? Status() : Status(Code::kSystemError, comityGetLastError(comm_));
  }
  const Job& job_;
  comityComm_t comm_ = nullptr;
};

class Measuring {
 public:
  Measuring(const topology::Graph& machine, const Job& job) : machine_(machine), job_(job), everyone_(job) {}

  Result<topology::Graph> run() {
    COMITY_RETURN_IF_ERROR(everyone_.meet());
    COMITY_RETURN_IF_ERROR(find_hosts());
    for (const auto& turn : topology::turns_of(host_of_rank_)) {
      COMITY_RETURN_IF_ERROR(take_turn(turn, "tcp"));
      COMITY_RETURN_IF_ERROR(take_turn(turn, "shm"));
    }
    COMITY_ASSIGN_OR_RETURN(const auto texts,
                            everyone_.gather_texts(topology::to_json(topology::anonymous(machine_))));
    if (job_.rank != 0) return topology::Graph();
    return graph_of(texts);
  }

 private:
  Status find_hosts() {
    COMITY_ASSIGN_OR_RETURN(const auto keys, everyone_.gather(host_key()));
    std::map<uint64_t, uint32_t> number;
    for (uint64_t key : keys)
      host_of_rank_.push_back(number.emplace(key, static_cast<uint32_t>(number.size())).first->second);
    return {};
  }

  // Shared memory only within a host. All ranks come along: those that are in no pair wait in the gathering.
  Status take_turn(const std::vector<topology::RankPair>& turn, const std::string& transport) {
    const bool shm = transport == "shm";
    std::vector<topology::RankPair> pairs;
    for (const topology::RankPair& pair : turn) {
      if (!shm || host_of_rank_[pair.first] == host_of_rank_[pair.second]) pairs.push_back(pair);
    }
    if (pairs.empty()) return {};
    ::setenv("COMITY_TRANSPORTS", transport.c_str(), 1);
    const auto me = static_cast<uint32_t>(job_.rank);
    const auto mine = std::find_if(pairs.begin(), pairs.end(), [me](const topology::RankPair& pair) {
      return pair.first == me || pair.second == me;
    });
    comityUniqueId own{};
    if (mine != pairs.end() && mine->first == me && comityGetUniqueId(&own) != comitySuccess)
      return Status(Code::kSystemError, comityGetLastError(nullptr));
    COMITY_ASSIGN_OR_RETURN(const auto ids, everyone_.gather(own));
    Outcome outcome;
    if (mine != pairs.end()) {
      COMITY_ASSIGN_OR_RETURN(const PairFigures figures,
                              measure_pair(mine->second == me ? 1 : 0, ids[mine->first]));
      if (mine->second == me)
        outcome = {mine->first, me, shm ? 1u : 0u, figures.latency_ns, figures.bandwidth_bytes_per_s};
    }
    COMITY_ASSIGN_OR_RETURN(const auto outcomes, everyone_.gather(outcome));
    for (const Outcome& each : outcomes) {
      if (each.latency_ns != 0) outcomes_.push_back(each);
    }
    return {};
  }

  Result<topology::Graph> graph_of(const std::vector<std::string>& texts) {
    std::vector<topology::View> views;
    for (const std::string& text : texts) views.push_back({topology::digest_of(text), text});
    COMITY_ASSIGN_OR_RETURN(auto agreed, topology::agree(views, host_of_rank_));
    topology::Placement placement;
    for (uint32_t host : host_of_rank_) placement.node_of_rank.push_back(agreed.host_node[host]);
    topology::complete_for_planning(agreed.graph, placement);
    std::map<uint32_t, PairFigures> best;  // by host, of its ways to others
    for (const Outcome& each : outcomes_) {
      fmt::print(stderr, "{} rank {} (host {}) to rank {} (host {}): {} ns, {:.3f} GB/s\n",
                 each.shm != 0 ? "shm" : "tcp", each.from, host_of_rank_[each.from], each.to,
                 host_of_rank_[each.to], each.latency_ns,
                 static_cast<double>(each.bandwidth_bytes_per_s) / 1e9);
      if (host_of_rank_[each.from] == host_of_rank_[each.to]) continue;
      for (uint32_t host : {host_of_rank_[each.from], host_of_rank_[each.to]}) {
        PairFigures& figures = best.try_emplace(host, PairFigures{UINT64_MAX, 0}).first->second;
        figures.latency_ns = std::min(figures.latency_ns, each.latency_ns);
        figures.bandwidth_bytes_per_s = std::max(figures.bandwidth_bytes_per_s, each.bandwidth_bytes_per_s);
      }
    }
    for (const auto& [host, figures] : best) {
      topology::set_figures(agreed.graph, topology::Way::kNetwork, {agreed.host_node[host]},
                            figures.latency_ns, figures.bandwidth_bytes_per_s, topology::Source::kMeasured);
    }
    topology::canonicalize(agreed.graph);
    agreed.graph.origin = fmt::format("{} measured hosts", agreed.graph.host_count());
    return std::move(agreed.graph);
  }

  const topology::Graph& machine_;
  const Job& job_;
  Everyone everyone_;
  std::vector<uint32_t> host_of_rank_;
  std::vector<Outcome> outcomes_;
};

}  // namespace

Result<topology::Graph> measure_cluster(const topology::Graph& machine, const Job& job) {
  return Measuring(machine, job).run();
}

}  // namespace comity::cli
