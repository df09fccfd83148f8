// The command line of every `<collective>_perf` program: nccl-tests' options where they exist.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/types.h"
#include "perf/core/buffer.h"

namespace comity::perf {

// Which of the ranks' times a row shows.
enum class Average { kRank0 = 0, kMean = 1, kMin = 2, kMax = 3 };

struct Options {
  // Sizes: from min to max, times step_factor if that exceeds 1, else plus step_bytes.
  uint64_t min_bytes = 32 << 20;
  uint64_t max_bytes = 32 << 20;
  uint64_t step_bytes = 1 << 20;
  uint64_t step_factor = 1;
  int iterations = 20;
  int warmup = 1;
  int checks = 1;     // checked calls per row and placement; 0: no checking
  int agg_iters = 1;  // calls of one iteration, made as one group
  Average average = Average::kMax;
  bool iteration_times = false;  // time each iteration, and show how they spread
  uint64_t volume_bytes = 0;     // if set: no more iterations than so many bytes need, but at least 5
  std::vector<RedOp> ops = {RedOp::kSum};
  std::vector<DataType> types = {DataType::kFloat32};
  int root = 0;
  BufferKind buffers = BufferKind::kPlain;
  std::vector<std::string> devices_by_rank;  // over and over; empty: all on the host
  bool owner_writes = false;
  bool limit = false;
  std::string transport;  // for COMITY_TRANSPORTS; empty: not set
  std::string algorithm;  // for COMITY_ALGO; empty: not set
  std::string json_file;
  std::string plot_file;

  // Who takes part. ranks: local processes to start; or rank and nranks, for a launcher of one's own.
  int threads = 0;  // -t and -g: ranks = threads * devices, each a process
  int devices = 0;
  int ranks = 0;
  bool pin = true;
  bool launched = false;  // a launcher started this process: comityCommInitEnv knows the rest
  int rank = -1;
  int nranks = 0;
  int cpu = -1;            // pin this process there; -1: not
  std::string id_hex;      // the unique id, from the creator's output
  std::string id_file;     // where rank 0 leaves it and the others find it
  std::string board_file;  // a file of zeros shared by ranks on one machine, in place of id and barrier

  // The sizes in bytes, ascending.
  std::vector<uint64_t> sizes() const;
  // Where that rank's buffers lie: "" or a device's name.
  std::string device_of(int rank_of_job) const;
  // How often a row of so many bytes is timed.
  int iterations_for(uint64_t bytes) const;
};

struct Parsed {
  bool go_on = false;   // false: help or an error was printed; end with exit_status
  int exit_status = 0;  // 2 for an error, as shells use it
  Options options;
};

// Parses and checks; prints help to stdout and complaints to stderr. `program` is the name in both.
Parsed parse_options(const std::string& program, int argc, char** argv);

}  // namespace comity::perf
