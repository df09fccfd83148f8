// limits: prints what the machine can do, as limits.h defines it.
#include <fmt/core.h>
#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "perf/job/affinity.h"
#include "perf/job/launch.h"
#include "perf/job/sizes.h"
#include "perf/limits/limits.h"

namespace comity::perf {
namespace {

constexpr const char* kUsage =
    "limits: what this machine can do at best, measured by N pinned processes at once\n"
    "  --ranks N         processes (default: the cores, at least 2)\n"
    "  -b, --minbytes S  smallest footprint per buffer (default 1M)\n"
    "  -e, --maxbytes S  largest footprint (default 128M), in steps of 4\n"
    "  --address A       IPv4 address for TCP (default 127.0.0.1)\n"
    "  --congestion C    congestion control for TCP (default: the system's)\n"
    "  --no-tcp          leave TCP out\n"
    "  -J, --json FILE   write the figures as JSON\n";

struct Options {
  int ranks = std::max(2, machine_core_count());
  uint64_t min_bytes = 1 << 20;
  uint64_t max_bytes = 128 << 20;
  std::string address = "127.0.0.1";
  std::string congestion;
  bool tcp = true;
  std::string json_file;
  bool help = false;
};

enum LongOption { kRanks = 1000, kAddress, kCongestion, kNoTcp };

Status set_option(Options& options, int which, const char* value) {
  switch (which) {
    case kRanks:
      options.ranks = std::atoi(value);
      if (options.ranks > 0 && options.ranks <= 1024) return {};
      return Status(Code::kInvalidArgument, fmt::format("--ranks {}: give 1 to 1024", value));
    case 'b': {
      COMITY_ASSIGN_OR_RETURN(options.min_bytes, parse_bytes(value));
      return {};
    }
    case 'e': {
      COMITY_ASSIGN_OR_RETURN(options.max_bytes, parse_bytes(value));
      return {};
    }
    case kAddress:
      options.address = value;
      return {};
    case kCongestion:
      options.congestion = value;
      return {};
    case kNoTcp:
      options.tcp = false;
      return {};
    case 'J':
      options.json_file = value;
      return {};
    case 'h':
      options.help = true;
      return {};
    default:
      return Status(Code::kInvalidArgument, "see --help");
  }
}

Result<Options> parse_options(int argc, char** argv) {
  static const option kLong[] = {{"ranks", required_argument, nullptr, kRanks},
                                 {"minbytes", required_argument, nullptr, 'b'},
                                 {"maxbytes", required_argument, nullptr, 'e'},
                                 {"address", required_argument, nullptr, kAddress},
                                 {"congestion", required_argument, nullptr, kCongestion},
                                 {"no-tcp", no_argument, nullptr, kNoTcp},
                                 {"json", required_argument, nullptr, 'J'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  Options options;
  for (int which; (which = getopt_long(argc, argv, "b:e:J:h", kLong, nullptr)) != -1;) {
    COMITY_RETURN_IF_ERROR(set_option(options, which, optarg));
  }
  if (optind != argc)
    return Status(Code::kInvalidArgument, fmt::format("unknown '{}'; see --help", argv[optind]));
  if (options.min_bytes < 4096 || options.min_bytes > options.max_bytes) {
    return Status(Code::kInvalidArgument, "footprints go from -b (at least 4K) to -e");
  }
  return options;
}

// Prints on rank 0, remembers for the JSON.
class Output {
 public:
  explicit Output(bool speaks) : speaks_(speaks) {}
  void add(const std::string& key, double value, const std::string& text) {
    values_[key] = value;
    if (speaks_) fmt::print("{:<34} {}\n", key, text);
  }
  Status write(const std::string& file) const {
    if (!speaks_ || file.empty()) return {};
    std::unique_ptr<FILE, int (*)(FILE*)> out(std::fopen(file.c_str(), "w"), std::fclose);
    if (out == nullptr) return Status(Code::kSystemError, "cannot write " + file);
    fmt::print(out.get(), "{}\n", values_.dump(2));
    return {};
  }

 private:
  bool speaks_;
  nlohmann::json values_;
};

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte, FreeDeleter>;

Memory touched(size_t bytes) {
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)));
  if (memory != nullptr) std::fill_n(memory.get(), bytes, std::byte{1});
  return memory;
}

Status measure_memory(SharedBoard& board, const Options& options, Output& out) {
  const Memory a = touched(options.max_bytes), b = touched(options.max_bytes);
  if (a == nullptr || b == nullptr) return Status(Code::kSystemError, "no memory for the largest footprint");
  for (uint64_t bytes = options.min_bytes; bytes <= options.max_bytes; bytes *= 4) {
    const Footprint footprint{a.get(), b.get(), bytes / 64 * 64};
    COMITY_ASSIGN_OR_RETURN(const double rate, memory_bandwidth(board, options.ranks, footprint));
    out.add("memory_bytes_per_s_at_2x" + format_bytes(bytes), rate, fmt::format("{:.1f} GB/s", rate / 1e9));
  }
  return {};
}

Status measure_tcp(SharedBoard& board, int rank, const Options& options, Output& out) {
  if (!options.tcp || options.ranks < 2) return {};
  COMITY_ASSIGN_OR_RETURN(const TcpLimits tcp, tcp_limits(board, rank, options.address, options.congestion));
  out.add("tcp_latency_ns", tcp.latency_ns, fmt::format("{:.0f} ns one way, 8 bytes", tcp.latency_ns));
  out.add("tcp_one_way_bytes_per_s", tcp.one_way_bytes_per_s,
          fmt::format("{:.2f} GB/s", tcp.one_way_bytes_per_s / 1e9));
  out.add("tcp_two_way_bytes_per_s", tcp.two_way_bytes_per_s,
          fmt::format("{:.2f} GB/s each way", tcp.two_way_bytes_per_s / 1e9));
  return {};
}

Status measure(const World& world, const Options& options) {
  COMITY_ASSIGN_OR_RETURN(const auto board, SharedBoard::attach(world.board.get(), world.rank, world.nranks));
  Output out(world.rank == 0);
  const int cores = machine_core_count();
  COMITY_ASSIGN_OR_RETURN(const double hand_over, yield_switch_ns(*board, world.rank, world.nranks));
  if (world.nranks <= cores) {
    COMITY_RETURN_IF_ERROR(pin_to_core(allowed_cores()[static_cast<size_t>(world.rank)]));
  }
  COMITY_ASSIGN_OR_RETURN(const double line, line_latency_ns(*board, world.rank, world.nranks));
  out.add("ranks", world.nranks, fmt::format("{} on {} cores", world.nranks, cores));
  out.add("line_latency_ns", line, fmt::format("{:.0f} ns one way", line));
  const double yield = yield_ns();
  out.add("yield_ns", yield, fmt::format("{:.0f} ns", yield));
  out.add("yield_switch_ns", hand_over, fmt::format("{:.0f} ns to another process", hand_over));
  COMITY_RETURN_IF_ERROR(measure_memory(*board, options, out));
  COMITY_RETURN_IF_ERROR(measure_tcp(*board, world.rank, options, out));
  return out.write(options.json_file);
}

Result<int> run(int argc, char** argv) {
  COMITY_ASSIGN_OR_RETURN(const Options options, parse_options(argc, argv));
  if (options.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  COMITY_ASSIGN_OR_RETURN(const std::optional<World> world, world_from_environment());
  if (!world) return run_ranks(options.ranks, argv);
  COMITY_RETURN_IF_ERROR(measure(*world, options));
  return 0;
}

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  const comity::Result<int> status = comity::perf::run(argc, argv);
  if (status.ok()) return *status;
  fmt::print(stderr, "limits: {}\n", status.status().message());
  return status.status().code() == comity::Code::kInvalidArgument ? 2 : 1;
}
