#include "perf/core/options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "perf/core/element.h"
#include "perf/job/affinity.h"
#include "perf/job/sizes.h"

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
};

void add_table_options(CLI::App& app, Options& o, Raw& raw) {
  app.add_option("-b,--minbytes", raw.min_bytes, "smallest size, with K, M, G (powers of 1024)")
      ->capture_default_str();
  app.add_option("-e,--maxbytes", raw.max_bytes, "largest size")->capture_default_str();
  app.add_option("-i,--stepbytes", raw.step_bytes, "increment between sizes")->capture_default_str();
  app.add_option("-f,--stepfactor", o.step_factor, "factor between sizes; 1: use -i")->capture_default_str();
  app.add_option("-n,--iters", o.iterations, "timed calls per size and placement")->capture_default_str();
  app.add_option("-w,--warmup_iters", o.warmup, "calls before the clock starts")->capture_default_str();
  app.add_option("-c,--check", o.checks, "checked calls per size and placement; 0: none")
      ->capture_default_str();
  app.add_option("-o,--op", raw.op, "sum, prod, max, min, avg or all")->capture_default_str();
  app.add_option("-d,--datatype", raw.type,
                 "int8, uint8, int32, ..., half, float, double, bfloat16, f8e4m3, f8e5m2 or all")
      ->capture_default_str();
  app.add_option("-r,--root", o.root, "root of rooted collectives; -1: each rank in turn")
      ->capture_default_str();
  app.add_option("-J,--json", o.json_file, "also write the results to this file");
  app.add_option("--volume", raw.volume,
                 "fewer calls for large sizes: at most so many bytes, at least 5 calls");
}

void add_job_options(CLI::App& app, Options& o, Raw& raw) {
  app.add_option("--ranks", o.ranks, "local processes to start (default: the cores, at least 2)");
  app.add_flag("!--no-pin", o.pin, "leave the placement of ranks to the system");
  app.add_option("--buffers", raw.buffers, "plain (malloc) or registered (comityMemAlloc)")
      ->capture_default_str();
  app.add_flag("--owner-writes", o.owner_writes,
               "rewrite each input before each call and time calls one by one (default: back to back)");
  app.add_option("--transport", o.transport, "use only these (sets COMITY_TRANSPORTS)");
  app.add_option("--algorithm", o.algorithm, "force an algorithm by name (sets COMITY_ALGO)");
  app.add_flag("--limit", o.limit, "add the percentage of the machine's limit, measured alongside");
  app.add_option("--rank", o.rank, "be this rank of a job that is started from outside");
  app.add_option("--nranks", o.nranks, "with --rank: how many ranks there are");
  app.add_option("--cpu", o.cpu, "with --rank: pin this process to that core");
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
  if (o.ranks < 0 || o.ranks > kMostRanks) return bad("--ranks is from 1 to 1024");
  return {};
}

Status check_job(const Options& o, bool ranks_given) {
  const auto bad = [](const char* what) { return Status(Code::kInvalidArgument, what); };
  const bool external = o.rank >= 0 || o.nranks > 0;
  if (!external && (!o.id_hex.empty() || !o.id_file.empty() || !o.board_file.empty() || o.cpu >= 0)) {
    return bad("--id, --id-file, --board and --cpu go with --rank and --nranks");
  }
  if (external && ranks_given)
    return bad("--ranks starts ranks here, --rank is one of a job started elsewhere: give one");
  if (external && (o.rank < 0 || o.rank >= o.nranks)) return bad("--rank must be from 0 to --nranks - 1");
  const bool meets = !o.id_hex.empty() || !o.id_file.empty() || !o.board_file.empty();
  if (external && o.rank > 0 && !meets) return bad("a rank other than 0 needs --id, --id-file or --board");
  const int nranks = external ? o.nranks : o.ranks;
  if (o.root < -1 || o.root >= nranks) return bad("-r must be a rank, or -1 for all");
  return {};
}

Status convert(const Raw& raw, Options& o) {
  COMITY_ASSIGN_OR_RETURN(o.min_bytes, parse_bytes(raw.min_bytes));
  COMITY_ASSIGN_OR_RETURN(o.max_bytes, parse_bytes(raw.max_bytes));
  COMITY_ASSIGN_OR_RETURN(o.step_bytes, parse_bytes(raw.step_bytes));
  COMITY_ASSIGN_OR_RETURN(o.volume_bytes, parse_bytes(raw.volume));
  const auto op_is = [](RedOp op, const std::string& text) { return name_of(op) == text; };
  const auto type_is = [](DataType type, const std::string& text) {
    return text == column_name(type) || name_of(type) == text;
  };
  COMITY_RETURN_IF_ERROR((parse_names<RedOp, kRedOpCount>(raw.op, "operation", op_is, o.ops)));
  COMITY_RETURN_IF_ERROR((parse_names<DataType, kDataTypeCount>(raw.type, "type", type_is, o.types)));
  if (raw.buffers != "plain" && raw.buffers != "registered") {
    return Status(Code::kInvalidArgument, "--buffers is plain or registered");
  }
  o.buffers = raw.buffers == "plain" ? BufferKind::kPlain : BufferKind::kRegistered;
  const bool ranks_given = o.ranks != 0;
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
