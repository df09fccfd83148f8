#include "src/cli/measure.h"

#include <fmt/core.h>
#include <sched.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/base/clock.h"

namespace comity::cli {
namespace {

constexpr size_t kBytes = size_t{32} << 20;
constexpr int kBatches = 9, kSmallCalls = 200;

struct Seat {
  std::string id;
  std::vector<int> cpus;  // that this process may use
};

// "0-3,8" within what the process may use.
std::vector<int> usable(const std::string& list) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cpus;
  const char* at = list.c_str();
  while (*at >= '0' && *at <= '9') {
    char* end = nullptr;
    const long first = std::strtol(at, &end, 10);
    const long last = *end == '-' ? std::strtol(end + 1, &end, 10) : first;
    for (long cpu = first; cpu <= last && cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) cpus.push_back(static_cast<int>(cpu));
    }
    at = *end == ',' ? end + 1 : end;
  }
  return cpus;
}

std::vector<Seat> seats_of(const topology::Graph& machine) {
  std::vector<Seat> seats;
  for (uint32_t node : machine.nodes_of(topology::NodeKind::kNuma)) {
    const auto& attributes = machine.nodes[node].attributes;
    const auto cpus = attributes.find("cpuset");
    seats.push_back(
        {machine.nodes[node].id, cpus == attributes.end() ? std::vector<int>() : usable(cpus->second)});
  }
  return seats;
}

uint64_t median(std::vector<uint64_t> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// One rank of a pair, on its own core.
class Rank {
 public:
  Rank(int rank, int cpu, const comityUniqueId& id) : rank_(rank), cpu_(cpu), id_(id) {}

  void run() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(cpu_), &one);
    sched_setaffinity(0, sizeof one, &one);
    if (!ok(comityCommInitRank(&comm_, 2, id_, rank_))) return;
    buffer_.assign(kBytes, static_cast<char>(rank_));
    if (measure_latency()) measure_bandwidth();
    comityCommDestroy(comm_);
  }
  uint64_t latency_ns = 0, transfer_ns = 0;
  std::string error;

 private:
  bool ok(comityResult_t result) {
    if (result != comitySuccess) error = comityGetLastError(comm_);
    return result == comitySuccess;
  }

  bool measure_latency() {
    std::vector<uint64_t> times;
    float in[2] = {1, 2}, out[2];
    for (int batch = 0; batch <= kBatches; ++batch) {
      const uint64_t began = now_ns();
      for (int call = 0; call < kSmallCalls; ++call) {
        if (!ok(comityAllReduce(in, out, 2, comityFloat32, comitySum, comm_, nullptr))) return false;
      }
      if (batch > 0) times.push_back((now_ns() - began) / kSmallCalls);
    }
    latency_ns = std::max<uint64_t>(median(times), 1);
    return true;
  }

  void measure_bandwidth() {
    std::vector<uint64_t> times;
    for (int batch = 0; batch <= kBatches; ++batch) {
      if (!ok(comityBarrier(comm_, nullptr))) return;
      const uint64_t began = now_ns();
      if (!ok(comityBroadcast(buffer_.data(), buffer_.data(), kBytes, comityUint8, 0, comm_, nullptr)))
        return;
      if (batch > 0) times.push_back(now_ns() - began);
    }
    transfer_ns = std::max<uint64_t>(median(times), 1);
  }

  int rank_, cpu_;
  comityUniqueId id_;
  comityComm_t comm_ = nullptr;
  std::vector<char> buffer_;
};

Result<topology::MeasuredPath> measure_pair(const char* transport, const std::array<const Seat*, 2>& seats,
                                            const std::array<int, 2>& cpus) {
  ::setenv("COMITY_TRANSPORTS", transport, 1);
  comityUniqueId id;
  if (comityGetUniqueId(&id) != comitySuccess) return Status(Code::kSystemError, comityGetLastError(nullptr));
  std::array<Rank, 2> ranks = {Rank(0, cpus[0], id), Rank(1, cpus[1], id)};
  std::thread other([&] { ranks[1].run(); });
  std::thread root([&] { ranks[0].run(); });
  other.join();
  root.join();
  for (const Rank& rank : ranks) {
    if (!rank.error.empty())
      return Status(Code::kSystemError,
                    fmt::format("{} from {} to {}: {}", transport, seats[0]->id, seats[1]->id, rank.error));
  }
  return topology::MeasuredPath{transport, seats[0]->id, seats[1]->id, ranks[1].latency_ns,
                                kBytes * 1'000'000'000u / ranks[1].transfer_ns};
}

}  // namespace

Result<topology::Profile> measure(const topology::Graph& machine) {
  topology::Profile profile;
  profile.structure = topology::structural_hash(machine);
  const std::vector<Seat> seats = seats_of(machine);
  for (size_t a = 0; a < seats.size(); ++a) {
    for (size_t b = a; b < seats.size(); ++b) {
      if (seats[a].cpus.size() < (a == b ? 2u : 1u) || seats[b].cpus.empty()) {
        fmt::print(stderr, "comity topo: {} to {} is not measured: too few cores there for two ranks\n",
                   seats[a].id, seats[b].id);
        continue;
      }
      const std::array<int, 2> cpus = {seats[a].cpus[0], seats[b].cpus[a == b ? 1 : 0]};
      for (const char* transport : {"shm", "tcp"}) {
        COMITY_ASSIGN_OR_RETURN(auto path, measure_pair(transport, {&seats[a], &seats[b]}, cpus));
        profile.paths.push_back(std::move(path));
      }
    }
  }
  ::unsetenv("COMITY_TRANSPORTS");
  if (profile.paths.empty())
    return Status(Code::kInvalidUsage,
                  "nothing to measure: no NUMA domain has two cores that this process may use");
  return profile;
}

}  // namespace comity::cli
