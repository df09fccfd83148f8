#include "perf/core/options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "perf/core/element.h"
#include "perf/job/affinity.h"
#include "perf/job/sizes.h"
#include "src/api/launch/variables.h"
#include "src/base/text.h"

namespace comity::perf {
namespace {

constexpr int kMostRanks = 1024;

// What is text on the command line and something else in Options.
struct Raw {
  std::string min_bytes = "32M";
  std::string max_bytes = "32M";
  std::string step_bytes = "1M";
  std::string volume = "0";
  std::string op = "sum";
  std::string type = "float";
  std::string buffers = "plain";
  std::string device, devices;
  int average = static_cast<int>(Average::kMax);
  int parallel_init = 1;
  int iteration_times = 0;
};

void add_table_options(CLI::App& app, Options& o, Raw& raw) {
  app.add_option("-b,--minbytes", raw.min_bytes, "smallest size, with K, M, G (powers of 1024)")
      ->capture_default_str();
  app.add_option("-e,--maxbytes", raw.max_bytes, "largest size")->capture_default_str();
  app.add_option("-i,--stepbytes", raw.step_bytes, "increment between sizes")->capture_default_str();
  app.add_option("-f,--stepfactor", o.step_factor, "factor between sizes; 1: use -i")->capture_default_str();
  app.add_option("-n,--iters", o.iterations, "timed calls per size and placement")->capture_default_str();
  app.add_option("-w,--warmup_iters", o.warmup, "calls before the clock starts")->capture_default_str();
  app.add_option("-m,--agg_iters", o.agg_iters, "calls of one iteration, as one group")
      ->capture_default_str();
  app.add_option("-a,--average", raw.average,
                 "time of: 0 rank 0, 1 the mean, 2 the fastest, 3 the slowest rank")
      ->capture_default_str();
  app.add_option("-I,--iteration_times", raw.iteration_times,
                 "1: also time each iteration, and show the fastest, the median and the slowest")
      ->expected(0, 1)
      ->default_str("1")
      ->check(CLI::Range(0, 1));
  app.add_option("-c,--check", o.checks, "checked calls per size and placement; 0: none")
      ->capture_default_str();
  app.add_option("-o,--op", raw.op, "sum, prod, max, min, avg or all")->capture_default_str();
  app.add_option("-d,--datatype", raw.type,
                 "int8, uint8, int32, ..., half, float, double, bfloat16, f8e4m3, f8e5m2 or all")
      ->capture_default_str();
  app.add_option("-r,--root", o.root, "root of rooted collectives; -1: each rank in turn")
      ->capture_default_str();
  app.add_option("-J,--json", o.json_file, "also write the results to this file");
  app.add_option("--plot", o.plot_file, "also draw time and bus bandwidth against size into this SVG file");
  app.add_option("--volume", raw.volume,
                 "fewer calls for large sizes: at most so many bytes, at least 5 calls");
}

void add_job_options(CLI::App& app, Options& o, Raw& raw) {
  app.add_option("-t,--nthreads", o.threads, "with -g: that many times as many ranks");
  app.add_option("-g,--ngpus", o.devices, "local ranks to start, each a process; as --ranks");
  app.add_option("-p,--parallel_init", raw.parallel_init, "accepted: ranks always join in parallel");
  app.add_option("--ranks", o.ranks,
                 "local processes to start (default: the cores, at least 2; under a launcher: none)");
  app.add_flag("!--no-pin", o.pin, "leave the placement of ranks to the system");
  app.add_option("--buffers", raw.buffers, "plain (malloc) or registered (comityMemAlloc)")
      ->capture_default_str();
  app.add_option("--device", raw.device, "buffers of all ranks on this device (opencl, opencl:1, a plugin)");
  app.add_option("--devices", raw.devices, "by rank, over and over: host,opencl,host,...");
  app.add_flag("--owner-writes", o.owner_writes,
               "rewrite each input before each call and time calls one by one (default: back to back)");
  app.add_option("--transport", o.transport, "use only these (sets COMITY_TRANSPORTS)");
  app.add_option("--algorithm", o.algorithm, "force an algorithm by name (sets COMITY_ALGO)");
  app.add_flag("--limit", o.limit, "add the percentage of the machine's limit, measured alongside");
  app.add_option("--rank", o.rank, "be this rank of a job that is started from outside");
  app.add_option("--nranks", o.nranks, "with --rank: how many ranks there are");
  app.add_option("--cpu", o.cpu, "with --rank or a launcher: pin this process to that core");
  app.add_option("--id", o.id_hex, "with --rank: the id that rank 0 printed");
  app.add_option("--id-file", o.id_file, "with --rank: rank 0 writes the id here, the others wait for it");
  app.add_option("--board", o.board_file,
                 "with --rank on one machine: a new file through which ranks meet and start");
}

template <typename T, size_t N, typename Name>
Status parse_names(const std::string& text, const char* what, Name name_at, std::vector<T>& out) {
  out.clear();
  for (size_t i = 0; i < N; ++i) {
    const auto value = static_cast<T>(i);
    if (text == "all" || name_at(value, text)) out.push_back(value);
  }
  if (!out.empty()) return {};
  return Status(Code::kInvalidArgument, fmt::format("unknown {} '{}'; see --help", what, text));
}

Status check_numbers(const Options& o) {
  const auto bad = [](const char* what) { return Status(Code::kInvalidArgument, what); };
  if (o.min_bytes > o.max_bytes) return bad("-b must not exceed -e");
  if (o.step_factor < 1) return bad("-f must be at least 1");
  if (o.step_factor == 1 && o.step_bytes == 0 && o.min_bytes != o.max_bytes)
    return bad("-i 0 needs -f or -b equal to -e");
  if (o.step_factor > 1 && o.min_bytes == 0) return bad("-b 0 cannot be multiplied; use -i or a larger -b");
  if (o.iterations < 1 || o.warmup < 0 || o.checks < 0) return bad("-n is at least 1, -w and -c at least 0");
  if (o.ranks < 0 || o.ranks > kMostRanks) return bad("--ranks, or -t times -g, is from 1 to 1024");
  if (o.agg_iters < 1) return bad("-m is at least 1");
  if (o.owner_writes && (o.agg_iters > 1 || o.average != Average::kMax))
    return bad("-m and -a are for calls back to back, not for --owner-writes");
  return {};
}

Status check_job(const Options& o, bool ranks_given) {
  const auto bad = [](const char* what) { return Status(Code::kInvalidArgument, what); };
  const bool external = o.rank >= 0 || o.nranks > 0;
  if (!external &&
      (!o.id_hex.empty() || !o.id_file.empty() || !o.board_file.empty() || (o.cpu >= 0 && !o.launched))) {
    return bad("--id, --id-file, --board and --cpu go with --rank and --nranks");
  }
  if (external && ranks_given)
    return bad("--ranks starts ranks here, --rank is one of a job started elsewhere: give one");
  if (external && (o.rank < 0 || o.rank >= o.nranks)) return bad("--rank must be from 0 to --nranks - 1");
  const bool meets = !o.id_hex.empty() || !o.id_file.empty() || !o.board_file.empty();
  if (external && o.rank > 0 && !meets) return bad("a rank other than 0 needs --id, --id-file or --board");
  const int nranks = external ? o.nranks : o.ranks;
  if (o.root < -1 || (o.root >= nranks && !o.launched)) return bad("-r must be a rank, or -1 for all");
  return {};
}

// -t and -g: as many local ranks. Under a launcher, or as one rank of a job, a process is one rank.
Status count_devices(Options& o) {
  const auto bad = [](const char* what) { return Status(Code::kInvalidArgument, what); };
  if (o.threads < 0 || o.devices < 0 || o.threads > kMostRanks || o.devices > kMostRanks)
    return bad("-t and -g are from 1 to 1024");
  if (o.threads == 0 && o.devices == 0) return {};
  if (o.ranks != 0) return bad("-t and -g, or --ranks: give one");
  const int local = std::max(1, o.threads) * std::max(1, o.devices);
  const bool alone = o.rank < 0 && o.nranks == 0 && launch::started_how() == launch::Started::kAlone;
  if (!alone && local > 1)
    return bad("-t times -g is 1 where a launcher starts the ranks: a process is one rank");
  if (alone) o.ranks = local;
  return {};
}

Status convert(const Raw& raw, Options& o) {
  COMITY_ASSIGN_OR_RETURN(o.min_bytes, parse_bytes(raw.min_bytes));
  COMITY_ASSIGN_OR_RETURN(o.max_bytes, parse_bytes(raw.max_bytes));
  COMITY_ASSIGN_OR_RETURN(o.step_bytes, parse_bytes(raw.step_bytes));
  COMITY_ASSIGN_OR_RETURN(o.volume_bytes, parse_bytes(raw.volume));
  if (raw.average < 0 || raw.average > 3) return Status(Code::kInvalidArgument, "-a is 0, 1, 2 or 3");
  o.average = static_cast<Average>(raw.average);
  o.iteration_times = raw.iteration_times != 0;
  const auto op_is = [](RedOp op, const std::string& text) { return name_of(op) == text; };
  const auto type_is = [](DataType type, const std::string& text) {
    return text == column_name(type) || name_of(type) == text;
  };
  COMITY_RETURN_IF_ERROR((parse_names<RedOp, kRedOpCount>(raw.op, "operation", op_is, o.ops)));
  COMITY_RETURN_IF_ERROR((parse_names<DataType, kDataTypeCount>(raw.type, "type", type_is, o.types)));
  if (raw.buffers != "plain" && raw.buffers != "registered") {
    return Status(Code::kInvalidArgument, "--buffers is plain or registered");
  }
  if (!raw.device.empty() && !raw.devices.empty())
    return Status(Code::kInvalidArgument, "--device is of all ranks, --devices by rank: give one");
  for (const std::string_view device : split_list(raw.device.empty() ? raw.devices : raw.device))
    o.devices_by_rank.emplace_back(device);
  if (o.limit && !o.devices_by_rank.empty())
    return Status(Code::kInvalidArgument,
                  "--limit is of the host's memory: `comity device check` measures what a device can do");
  COMITY_RETURN_IF_ERROR(count_devices(o));
  o.buffers = raw.buffers == "plain" ? BufferKind::kPlain : BufferKind::kRegistered;
  const bool ranks_given = o.ranks != 0;
  o.launched =
      !ranks_given && o.rank < 0 && o.nranks == 0 && launch::started_how() != launch::Started::kAlone;
  if (!ranks_given) o.ranks = std::max(2, machine_core_count());
  COMITY_RETURN_IF_ERROR(check_numbers(o));
  return check_job(o, ranks_given);
}

}  // namespace

std::vector<uint64_t> Options::sizes() const {
  std::vector<uint64_t> found;
  for (uint64_t bytes = min_bytes; bytes <= max_bytes;) {
    found.push_back(bytes);
    const uint64_t next = step_factor > 1 ? bytes * step_factor : bytes + step_bytes;
    if (next <= bytes || min_bytes == max_bytes) break;
    bytes = next;
  }
  return found;
}

std::string Options::device_of(int rank_of_job) const {
  if (devices_by_rank.empty()) return "";
  return devices_by_rank[static_cast<size_t>(rank_of_job) % devices_by_rank.size()];
}

int Options::iterations_for(uint64_t bytes) const {
  if (volume_bytes == 0 || bytes == 0) return iterations;
  const uint64_t affordable = std::max<uint64_t>(5, volume_bytes / bytes);
  return static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(iterations), affordable));
}

Parsed parse_options(const std::string& program, int argc, char** argv) {
  Parsed parsed;
  Raw raw;
  CLI::App app("Times a collective of Comity and checks every element of its results.", program);
  add_table_options(app, parsed.options, raw);
  add_job_options(app, parsed.options, raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    parsed.exit_status = app.exit(error) == 0 ? 0 : 2;
    return parsed;
  }
  const Status status = convert(raw, parsed.options);
  parsed.go_on = status.ok();
  parsed.exit_status = status.ok() ? 0 : 2;
  if (!status.ok()) fmt::print(stderr, "{}: {}\n", program, status.message());
  return parsed;
}

}  // namespace comity::perf
