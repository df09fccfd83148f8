#include "src/cli/measure.h"

#include <fmt/core.h>
#include <sched.h>
#include <stdlib.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/api/transports.h"
#include "src/cli/measure_pair.h"

namespace comity::cli {
namespace {

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

void pin_to(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(cpu), &one);
  sched_setaffinity(0, sizeof one, &one);
}

Result<topology::MeasuredPath> measure_seats(const char* transport, const std::array<const Seat*, 2>& seats,
                                             const std::array<int, 2>& cpus) {
  ::setenv("COMITY_TRANSPORTS", transport, 1);
  comityUniqueId id;
  if (comityGetUniqueId(&id) != comitySuccess) return Status(Code::kSystemError, comityGetLastError(nullptr));
  std::array<Result<PairFigures>, 2> figures = {PairFigures{}, PairFigures{}};
  std::vector<std::thread> ranks;
  for (size_t rank : {size_t{0}, size_t{1}}) {
    ranks.emplace_back([&, rank] {
      pin_to(cpus[rank]);
      figures[rank] = measure_pair(static_cast<int>(rank), id);
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const auto& each : figures) {
    if (!each.ok())
      return each.status().in(fmt::format("{} from {} to {}", transport, seats[0]->id, seats[1]->id));
  }
  return topology::MeasuredPath{transport, seats[0]->id, seats[1]->id, figures[1]->latency_ns,
                                figures[1]->bandwidth_bytes_per_s};
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
      for (const api::TransportKind& kind : api::transport_kinds()) {
        auto path = measure_seats(std::string(kind.name).c_str(), {&seats[a], &seats[b]}, cpus);
        if (path.ok()) {
          profile.paths.push_back(std::move(path).value());
        } else if (kind.needs_no_hardware) {
          return path.status();
        } else {
          fmt::print(stderr, "comity topo: {} is not measured: {}\n", kind.name, path.status().message());
        }
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
