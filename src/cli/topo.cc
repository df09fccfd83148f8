// comity topo: a topology as people and programs want to see it, and the difference of two.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "src/cli/command.h"
#include "src/cli/measure.h"
#include "src/cli/measure_cluster.h"
#include "src/cli/topo_input.h"
#include "topology/diff.h"
#include "topology/draw/dot.h"
#include "topology/draw/hwloc_synthetic.h"
#include "topology/draw/svg.h"
#include "topology/draw/text.h"
#include "topology/export/nccl_xml.h"
#include "topology/json.h"

namespace comity::cli {
namespace {

struct TopoArguments {
  TopologyInput input;
  std::string format = "text";
  bool measured = false;
  Job job;  // of several hosts
  TopologyInput before, after;
};

// A malformed file is bad (1), what cannot be had or makes no sense is not done (2).
int refuse(const Status& status) {
  fmt::print(stderr, "comity topo: {}\n", status.message());
  return status.code() == Code::kInvalidArgument ? kBad : kNotDone;
}

Result<std::string> formatted(const topology::Graph& graph, const std::string& format) {
  if (format == "json") return topology::to_json(graph);
  if (format == "dot") return topology::to_dot(graph);
  if (format == "svg") return topology::to_svg(graph);
  if (format == "nccl-xml") return topology::export_nccl_xml(graph);
  if (format == "hwloc-synthetic") {
    COMITY_ASSIGN_OR_RETURN(const std::string synthetic, topology::to_hwloc_synthetic(graph));
    return synthetic + "\n";
  }
  return topology::to_text(graph);
}

// Measures this machine and keeps what was found: read_topology() and every later communicator use it.
int measure_and_keep(const TopoArguments& arguments) {
  if (!arguments.input.text.empty())
    return refuse(
        Status(Code::kInvalidUsage, "--measure measures this machine; leave out the file or notation"));
  const Result<topology::Graph> machine = read_topology(arguments.input);
  if (!machine.ok()) return refuse(machine.status());
  const Result<topology::Profile> profile = measure(*machine);
  if (!profile.ok()) return refuse(profile.status());
  for (const topology::MeasuredPath& path : profile->paths) {
    fmt::print(stderr, "{} {} to {}: {} ns, {:.2f} GB/s\n", path.transport, path.from, path.to,
               path.latency_ns, static_cast<double>(path.bandwidth_bytes_per_s) / 1e9);
  }
  if (Status status = topology::store_profile(*profile); !status.ok()) return refuse(status);
  return kGood;
}

int print(const Result<topology::Graph>& graph, const std::string& format) {
  if (!graph.ok()) return refuse(graph.status());
  const Result<std::string> text = formatted(*graph, format);
  if (!text.ok()) return refuse(text.status().in("--format " + format));
  std::fwrite(text->data(), 1, text->size(), stdout);
  return kGood;
}

// This process is one rank of a job that an operator started on several hosts.
int measure_with_others(const TopoArguments& arguments) {
  const Job& job = arguments.job;
  if (!arguments.measured || job.rank < 0 || job.rank >= job.nranks || job.id_file.empty()) {
    return refuse(Status(
        Code::kInvalidUsage,
        "several hosts are measured with --measure, --rank R from 0 to N - 1, --nranks N and --id-file F"));
  }
  const Result<topology::Graph> machine = read_topology({});
  if (!machine.ok()) return refuse(machine.status());
  const Result<topology::Graph> graph = measure_cluster(*machine, job);
  if (graph.ok() && job.rank != 0) return kGood;
  return print(graph, arguments.format);
}

int show(const TopoArguments& arguments) {
  if (arguments.job.rank >= 0 || arguments.job.nranks > 0) return measure_with_others(arguments);
  if (arguments.measured) {
    if (const int status = measure_and_keep(arguments); status != kGood) return status;
  }
  return print(read_topology(arguments.input), arguments.format);
}

int compare(const TopoArguments& arguments) {
  const Result<topology::Graph> before = read_topology(arguments.before);
  if (!before.ok()) return refuse(before.status());
  const Result<topology::Graph> after = read_topology(arguments.after);
  if (!after.ok()) return refuse(after.status());
  const auto differences = topology::diff(*before, *after);
  for (const topology::Difference& each : differences)
    fmt::print("{:<8} {}\n", topology::name_of(each.kind), each.text);
  if (differences.empty()) fmt::print("no difference\n");
  return differences.empty() ? kGood : kBad;
}

void add_diff(CLI::App& topo, const std::shared_ptr<TopoArguments>& arguments, int& status) {
  CLI::App* command = topo.add_subcommand(
      "diff", "What is missing, slower, moved or added in B against A: exit 0 if nothing, 1 if something");
  command->add_option("a", arguments->before.text, "A file or a notation")->required();
  command->add_option("b", arguments->after.text, "A file or a notation; \"\" for this machine")->required();
  command->callback([arguments, &status] { status = compare(*arguments); });
}

}  // namespace

void add_topo(CLI::App& app, int& status) {
  const auto arguments = std::make_shared<TopoArguments>();
  CLI::App* command = app.add_subcommand("topo", "Show a topology: this machine's, a file's, or a cluster's");
  const CLI::Option* input = command->add_option(
      "input", arguments->input.text,
      "A file (its kind is recognised; - for standard input) or a notation, as \"2*dgx-h100 + mi300x-8 "
      "via rail(8, 50GB/s)\"; without it, this machine");
  command->add_option("--from", arguments->input.kind, "The kind of the file")
      ->check(CLI::IsMember(topology_kinds()))
      ->capture_default_str();
  command
      ->add_option(
          "--format", arguments->format,
          "text, json, dot (for Graphviz), svg, nccl-xml (for NCCL_TOPO_FILE) or hwloc-synthetic (for "
          "HWLOC_SYNTHETIC)")
      ->check(CLI::IsMember({"text", "json", "dot", "svg", "nccl-xml", "hwloc-synthetic"}))
      ->capture_default_str();
  command->add_flag(
      "--measure", arguments->measured,
      "First measure each transport between this machine's NUMA domains, and keep the figures for later");
  command->add_option("--rank", arguments->job.rank, "With --measure: this rank of a job on several hosts");
  command->add_option("--nranks", arguments->job.nranks, "Ranks of that job");
  command->add_option("--id-file", arguments->job.id_file,
                      "Where rank 0 leaves the job's id, and the others find it");
  add_diff(*command, arguments, status);
  command->callback([command, input, arguments, &status] {
    if (!command->get_subcommands().empty()) return;
    // An unset variable of a script, most likely: this machine in place of what was meant would be a lie.
    if (input->count() > 0 && arguments->input.text.empty()) {
      status = refuse(Status(Code::kInvalidUsage,
                             "the name of the file or the notation is empty: leave it out for this machine"));
      return;
    }
    status = show(*arguments);
  });
}

}  // namespace comity::cli
