// comity plan: the plan that a call would follow, as a table, a drawing or a file.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>
#include <numeric>

#include "algorithms/algorithm.h"
#include "algorithms/selector.h"
#include "src/cli/command.h"
#include "src/cli/topo_input.h"
#include "src/plan/cost.h"
#include "src/plan/hash.h"
#include "src/plan/json.h"
#include "src/plan/print.h"
#include "topology/planning.h"
#include "topology/topology.h"

namespace comity::cli {
namespace {

struct PlanArguments {
  std::string collective;
  uint32_t ranks = 0;
  std::string bytes;
  std::string algorithm;
  std::string hosts = "1";
  std::string topology;  // a file or a notation
  uint32_t root = 0;
  std::string format = "text";
  uint32_t most_ranks = 16;
  bool deterministic = false;
};

constexpr uint32_t kMostRanks = 65536;

// "4", "64K", "1M", "2G", "1T", powers of 1024.
Result<uint64_t> parse_bytes(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  int shift = 0;
  if (error == std::errc() && rest + 1 == end) {
    constexpr std::string_view kSuffixes = "KMGT";
    const size_t found = kSuffixes.find(static_cast<char>(*rest & ~0x20));
    if (found != std::string_view::npos) {
      shift = 10 * (static_cast<int>(found) + 1);
      ++rest;
    }
  }
  if (error != std::errc() || rest != end || value > (UINT64_MAX >> shift)) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("--bytes {}: not a whole number below 2^64 with an optional suffix K, M, G or T", text));
  }
  return value << shift;
}

Result<Collective> parse_collective(std::string_view text) {
  std::string known;
  for (int i = 0; i <= static_cast<int>(Collective::kScatterV); ++i) {
    const auto collective = static_cast<Collective>(i);
    if (name_of(collective) == text) return collective;
    known += fmt::format("{}{}", i == 0 ? "" : ", ", name_of(collective));
  }
  return Status(Code::kInvalidArgument,
                fmt::format("there is no collective \"{}\"; there are {}", text, known));
}

// "2": as many hosts, filled evenly; "4,2,2": ranks of each.
Result<std::vector<uint32_t>> parse_hosts(const std::string& text, uint32_t ranks) {
  std::vector<uint32_t> counts;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at <= end) {
    uint32_t count = 0;
    const auto [rest, error] = std::from_chars(at, end, count);
    if (error != std::errc() || count == 0 || (rest != end && *rest != ',')) {
      return Status(Code::kInvalidArgument,
                    fmt::format("--hosts {}: neither a number of hosts nor ranks of each, as 4,2", text));
    }
    counts.push_back(count);
    at = rest + 1;
  }
  if (counts.size() == 1) {
    const uint32_t hosts = counts[0];
    if (hosts > ranks)
      return Status(Code::kInvalidArgument, fmt::format("--hosts {}: more than {} ranks", text, ranks));
    counts.assign(hosts, ranks / hosts);
    for (uint32_t host = 0; host < ranks % hosts; ++host) ++counts[host];
  }
  const uint64_t sum = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (sum != ranks)
    return Status(Code::kInvalidArgument,
                  fmt::format("--hosts {}: {} ranks in all, not {}", text, sum, ranks));
  return counts;
}

// Ranks on the devices of a topology, in its order; where it has none, on its hosts, in turn.
Result<topology::Topology> place_on(const PlanArguments& arguments) {
  COMITY_ASSIGN_OR_RETURN(topology::Graph graph, read_topology({arguments.topology, "auto"}));
  std::vector<uint32_t> seats = graph.nodes_of(topology::NodeKind::kDevice);
  if (seats.empty()) {
    const std::vector<uint32_t> hosts = graph.nodes_of(topology::NodeKind::kHost);
    for (uint32_t rank = 0; rank < arguments.ranks; ++rank)
      seats.push_back(hosts[uint64_t{rank} * hosts.size() / arguments.ranks]);
  }
  if (seats.size() < arguments.ranks) {
    return Status(Code::kInvalidArgument, fmt::format("--ranks {}: {} has {} devices", arguments.ranks,
                                                      arguments.topology, seats.size()));
  }
  seats.resize(arguments.ranks);
  topology::Placement placement;
  placement.node_of_rank = std::move(seats);
  topology::complete_for_planning(graph, placement);
  return topology::plan_topology(graph, placement);
}

Result<topology::Topology> make_topology(const PlanArguments& arguments) {
  if (!arguments.topology.empty()) return place_on(arguments);
  COMITY_ASSIGN_OR_RETURN(const std::vector<uint32_t> counts, parse_hosts(arguments.hosts, arguments.ranks));
  std::vector<std::string> names;
  for (size_t host = 0; host < counts.size(); ++host)
    names.insert(names.end(), counts[host], fmt::format("host {}", host));
  COMITY_ASSIGN_OR_RETURN(topology::Topology topology, topology::from_hosts(names));
  topology.across.latency_ns = 20 * topology.inside.latency_ns;
  return topology;
}

struct Chosen {
  const algorithms::Algorithm* algorithm = nullptr;
  std::string why;
};

// Whether the algorithm asked for keeps the rules, and serves any lengths where it must.
Status check_asked(const PlanArguments& arguments, Collective collective, const topology::Topology& topology,
                   const algorithms::Rules& rules) {
  if (!arguments.deterministic && !is_varying(collective)) return {};
  const std::string forced = fmt::format("{}:{}", name_of(collective), arguments.algorithm);
  return algorithms::Selection::make(topology, forced, rules)
      .status()
      .in(fmt::format("--algorithm {}", arguments.algorithm));
}

Result<Chosen> choose(const PlanArguments& arguments, Collective collective,
                      const topology::Topology& topology, uint64_t bytes) {
  algorithms::Rules rules;
  rules.deterministic = arguments.deterministic;
  const char* const what = is_varying(collective) ? " of those that serve any lengths" : "";
  if (arguments.algorithm.empty()) {
    COMITY_ASSIGN_OR_RETURN(const algorithms::Selection selection,
                            algorithms::Selection::make(topology, "", rules));
    const algorithms::Range& range = selection.pick(collective, bytes);
    return Chosen{range.algorithm,
                  fmt::format("as cheapest{} from {} bytes on: there {}", what, range.min_bytes, range.why)};
  }
  const Collective planned = planned_as(collective);
  const algorithms::Algorithm* found = algorithms::find(planned, arguments.algorithm);
  if (found == nullptr) {
    return Status(Code::kInvalidArgument, fmt::format("--algorithm {}: {} has {}", arguments.algorithm,
                                                      name_of(collective), algorithms::names_of(planned)));
  }
  COMITY_RETURN_IF_ERROR(check_asked(arguments, collective, topology, rules));
  return Chosen{found, "as asked"};
}

Result<plan::Cost> price(const plan::Plan& plan, const topology::Topology& topology, uint64_t bytes) {
  plan::CostInput input;
  input.path = [&topology](uint32_t from, uint32_t to) {
    const topology::Path& path = topology.path(from, to);
    return plan::PathFigures{path.latency_ns, path.bandwidth_bytes_per_s};
  };
  input.reduce_bytes_per_s = topology.reduce_bytes_per_s;
  input.copy_bytes_per_s = topology.reduce_bytes_per_s;
  input.block_bytes = bytes;
  return plan::price(plan, input);
}

void print_text(const plan::Plan& plan, const Chosen& chosen, const plan::Cost& cost,
                const topology::Topology& topology, const PlanArguments& arguments) {
  fmt::print("{}", plan::to_text(plan, {arguments.most_ranks}));
  const auto busiest = std::max_element(cost.sent_bytes.begin(), cost.sent_bytes.end());
  fmt::print("hash {:016x}; chosen {}\n", plan::hash_of(plan), chosen.why);
  fmt::print(
      "{} tile{}, {} messages in each; the busiest rank sends {} bytes; {:.1f} us at {} ns and {:.1f} GB/s "
      "inside a {}",
      cost.tiles, cost.tiles == 1 ? "" : "s", cost.messages, *busiest,
      static_cast<double>(cost.time_ns) / 1e3, topology.inside.latency_ns,
      static_cast<double>(topology.inside.bandwidth_bytes_per_s) / 1e9,
      arguments.topology.empty() ? "host" : "group");
  if (topology.ngroups() > 1) {
    fmt::print(", {} ns and {:.1f} GB/s across", topology.across.latency_ns,
               static_cast<double>(topology.across.bandwidth_bytes_per_s) / 1e9);
  }
  fmt::print("\n");
}

Status show(const PlanArguments& arguments) {
  COMITY_ASSIGN_OR_RETURN(const Collective collective, parse_collective(arguments.collective));
  COMITY_ASSIGN_OR_RETURN(const uint64_t bytes, parse_bytes(arguments.bytes));
  COMITY_ASSIGN_OR_RETURN(const topology::Topology topology, make_topology(arguments));
  if (arguments.root >= arguments.ranks) {
    return Status(Code::kInvalidArgument,
                  fmt::format("--root {}: not a rank below {}", arguments.root, arguments.ranks));
  }
  COMITY_ASSIGN_OR_RETURN(const Chosen chosen, choose(arguments, collective, topology, bytes));
  COMITY_ASSIGN_OR_RETURN(const plan::Plan plan,
                          algorithms::make_plan(*chosen.algorithm, {&topology, arguments.root, bytes}));
  if (arguments.format == "json") {
    fmt::print("{}", plan::to_json(plan));
  } else if (arguments.format == "dot") {
    fmt::print("{}", plan::to_dot(plan, {arguments.most_ranks}));
  } else {
    COMITY_ASSIGN_OR_RETURN(const plan::Cost cost, price(plan, topology, bytes));
    print_text(plan, chosen, cost, topology, arguments);
  }
  return {};
}

}  // namespace

void add_plan(CLI::App& app, int& status) {
  const auto arguments = std::make_shared<PlanArguments>();
  CLI::App* command = app.add_subcommand(
      "plan", "Show the plan of a call: what each rank sends, receives, copies and reduces");
  command
      ->add_option("collective", arguments->collective,
                   "all_reduce, reduce, broadcast, all_gather, reduce_scatter, barrier, all_to_all, gather, "
                   "scatter, or "
                   "a v-variant, as all_gather_v, by the plan that serves its blocks of any lengths")
      ->required();
  command->add_option("--ranks", arguments->ranks, "Number of ranks")
      ->required()
      ->check(CLI::Range(1u, kMostRanks));
  command
      ->add_option(
          "--bytes", arguments->bytes,
          "Bytes of a block: of what a rank gives or gets for each rank where buffers have a block for "
          "every rank, else of the buffer; suffixes K, M, G, T")
      ->required();
  command->add_option("--algorithm", arguments->algorithm, "This one instead of the cheapest");
  command->add_option("--hosts", arguments->hosts, "Hosts, filled evenly; or the ranks of each, as 4,2")
      ->capture_default_str();
  command
      ->add_option("--topology", arguments->topology,
                   "Ranks on the devices (or hosts) of this file or notation, with its groups and figures")
      ->check([](const std::string& text) {
        return text.empty() ? "is empty: name a file or a notation, or leave it out" : "";
      })
      ->excludes("--hosts");
  command->add_flag("--deterministic", arguments->deterministic,
                    "As COMITY_DETERMINISTIC=1 chooses: reductions by the balanced tree over ranks");
  command->add_option("--root", arguments->root, "Of broadcast, reduce, gather and scatter")
      ->capture_default_str();
  command->add_option("--format", arguments->format, "text, json (for `comity verify`) or dot (for Graphviz)")
      ->check(CLI::IsMember({"text", "json", "dot"}))
      ->capture_default_str();
  command->add_option("--most-ranks", arguments->most_ranks, "Ranks shown by text and dot")
      ->capture_default_str();
  command->callback([arguments, &status] {
    const Status done = show(*arguments);
    if (done.ok()) return;
    fmt::print(stderr, "comity plan: {}\n", done.message());
    status = kNotDone;
  });
}

}  // namespace comity::cli
