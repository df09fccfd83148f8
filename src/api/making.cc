#include "src/api/making.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <thread>
#include <utility>

#include "src/api/errors.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/api/worker.h"
#include "src/base/log.h"
#include "src/base/text.h"

namespace comity::api {
namespace {

control::UniqueId to_id(const comityUniqueId& id) {
  control::UniqueId bytes;
  static_assert(sizeof id.internal == sizeof bytes);
  std::memcpy(bytes.data(), id.internal, bytes.size());
  return bytes;
}

Result<std::unique_ptr<Assembly>> assemble(const InitJob& job, const std::atomic<bool>* cancelled) {
  auto assembly = Assembly::make(to_id(job.id), static_cast<uint32_t>(job.nranks),
                                 static_cast<uint32_t>(job.rank), job.config, cancelled);
  if (assembly.ok()) return assembly;
  const std::string name = job.config.ok() ? job.config->name : "";
  const std::string who = fmt::format("rank {} of {}", job.rank, job.nranks);
  COMITY_LOG_ERROR("{}: comityCommInitRank failed: {}", about_communicator(who, name),
                   assembly.status().message());
  return assembly.status().in(about_communicator("comityCommInitRank, " + who, name));
}

// On the handle's worker.
void make_behind(comityComm_t comm, const InitJob& job) {
  Status trouble;
  const comityResult_t result = guarded("comityCommInitRankConfig", [&] {
    auto assembly = assemble(job, &comm->cancelled);
    if (assembly.ok())
      adopt(comm, std::move(assembly).value(), *job.config);
    else
      trouble = assembly.status();
    return comitySuccess;
  });
  if (result != comitySuccess) trouble = Status(Code::kSystemError, last_error());
  if (!trouble.ok()) set_broken(comm, trouble);
}

// Of those that block: with one parent in a line, each of the others in its own.
std::vector<std::vector<size_t>> lines_of(const std::vector<MakeJob>& jobs) {
  std::vector<std::vector<size_t>> lines;
  std::map<comityComm_t, size_t> of_parent;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].behind) continue;
    size_t line = lines.size();
    if (jobs[i].parent != nullptr) line = of_parent.try_emplace(jobs[i].parent, line).first->second;
    if (line == lines.size()) lines.emplace_back();
    lines[line].push_back(i);
  }
  return lines;
}

// Each on a thread.
template <typename Run>
void run_lines(const std::vector<std::vector<size_t>>& lines, const Run& run) {
  std::vector<std::thread> threads;
  const auto join_all = [&threads] {
    for (std::thread& thread : threads) thread.join();
  };
  try {
    for (const auto& line : lines) threads.emplace_back([&run, &line] { run(line); });
  } catch (...) {
    join_all();  // those that started end when their ranks stay missing
    throw;
  }
  join_all();
}

}  // namespace

Status init_rank(const InitJob& job) {
  COMITY_ASSIGN_OR_RETURN(auto assembly, assemble(job, nullptr));
  *job.comm = make_handle(std::move(assembly), static_cast<uint32_t>(job.rank),
                          static_cast<uint32_t>(job.nranks), *job.config);
  return {};
}

MakeJob job_of(InitJob init) {
  comityComm_t* const comm = init.comm;
  return {comm, nullptr, [job = std::move(init)] { return init_rank(job); }, false};
}

Status make_all(const std::vector<MakeJob>& jobs, bool* behind) {
  std::vector<Status> results(jobs.size());
  const auto run = [&jobs, &results](const std::vector<size_t>& line) {
    for (const size_t i : line) {
      const comityResult_t result = guarded("making a communicator", [&] {
        results[i] = jobs[i].make();
        return comitySuccess;
      });
      if (result != comitySuccess) results[i] = Status(Code::kSystemError, last_error());
    }
  };
  // Those that block may wait for ranks of this process that do not.
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].behind) run({i});
  }
  run_lines(lines_of(jobs), run);
  const auto failed = std::find_if(results.begin(), results.end(), [](const Status& s) { return !s.ok(); });
  if (failed == results.end()) {
    *behind = *behind || std::any_of(jobs.begin(), jobs.end(), [](const MakeJob& job) { return job.behind; });
    return {};
  }
  for (const MakeJob& job : jobs) {
    if (*job.comm != nullptr) static_cast<void>(comityCommAbort(std::exchange(*job.comm, nullptr)));
  }
  return *failed;
}

void begin_init_rank(const InitJob& job) {
  comityComm_t comm =
      new_handle(static_cast<uint32_t>(job.rank), static_cast<uint32_t>(job.nranks), *job.config);
  try {
    start_worker(comm, [comm, job] { make_behind(comm, job); });
  } catch (const std::exception& thrown) {
    comm->state.store(kDead);
    static_cast<void>(control::give_up_joining(
        to_id(job.id), static_cast<uint32_t>(job.rank), static_cast<uint32_t>(job.nranks),
        Status(Code::kSystemError, fmt::format("rank {} could not set up: {}", job.rank, thrown.what()))));
    throw;
  }
  *job.comm = comm;
}

}  // namespace comity::api
