// Who started this process?
#include <fmt/core.h>

#include <array>

#include "src/api/launch/known_host.h"
#include "src/api/launch/launcher.h"
#include "src/api/launch/pmi1.h"
#include "src/api/launch/pmix.h"
#include "src/api/launch/rendezvous_file.h"
#include "src/api/launch/secret_file.h"
#include "src/api/launch/slurm_hosts.h"
#include "src/api/launch/variables.h"

namespace comity::launch {
namespace {

constexpr uint64_t kGreetWithinMs = 10'000;

using Found = Result<std::unique_ptr<Launcher>>;

Status lacking(const char* missing, const char* present) {
  return Status(
      Code::kInvalidUsage,
      fmt::format("{} is set and {} is not: set COMITY_RANK, COMITY_NRANKS and COMITY_RENDEZVOUS, or "
                  "none of them",
                  present, missing));
}

Found by_own_variables(const Settings& settings) {
  constexpr std::array kNames = {"COMITY_RANK", "COMITY_NRANKS", "COMITY_RENDEZVOUS"};
  const char* present = "";
  for (const char* name : kNames)
    if (is_set(name)) present = name;
  COMITY_ASSIGN_OR_RETURN(const std::optional<Secret> secret, read_secret(settings));
  if (!is_set("COMITY_RANK")) return lacking("COMITY_RANK", present);
  if (!is_set("COMITY_NRANKS")) return lacking("COMITY_NRANKS", present);
  COMITY_ASSIGN_OR_RETURN(const Place place, place_of("the caller", "COMITY_RANK", "COMITY_NRANKS"));
  if (place.nranks > 1 && !is_set("COMITY_RENDEZVOUS")) return lacking("COMITY_RENDEZVOUS", present);
  return make_rendezvous_file_launcher(place, variable("COMITY_RENDEZVOUS"), secret);
}

// Also of scripts that set the variables that torch.distributed reads.
Found by_torchrun(const Settings& settings) {
  constexpr const char* kWho = "torchrun";
  COMITY_ASSIGN_OR_RETURN(const Place place, place_of(kWho, "RANK", "WORLD_SIZE"));
  KnownHost known;
  known.launcher = kWho;
  known.variable = "MASTER_ADDR";
  known.host = variable("MASTER_ADDR");
  if (known.host.empty()) {
    return Status(Code::kInvalidUsage,
                  "torchrun's RANK and WORLD_SIZE are set and MASTER_ADDR is not: set it to the address or "
                  "name of rank 0's host");
  }
  known.job = fmt::format("torchrun {} {} {} {}", variable("TORCHELASTIC_RUN_ID"),
                          variable("TORCHELASTIC_RESTART_COUNT"), variable("MASTER_PORT"), place.nranks);
  return make_known_host_launcher(place, known, settings);
}

Found by_pmix(const Settings& settings) {
  COMITY_ASSIGN_OR_RETURN(const std::optional<Secret> secret, read_secret(settings));
  COMITY_ASSIGN_OR_RETURN(PmixStore* const store, pmix_store());
  const bool open_mpi = is_set("OMPI_COMM_WORLD_RANK") && is_set("OMPI_COMM_WORLD_SIZE");
  const auto place = open_mpi ? place_of("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
                              : store->place(Deadline::after_ms(kGreetWithinMs));
  if (!place.ok()) return place.status();
  return make_key_value_launcher(open_mpi ? "Open MPI" : "PMIx", *place, *store, secret);
}

Found by_pmi1(const Settings& settings) {
  constexpr const char* kWho = "a launcher that speaks PMI";
  COMITY_ASSIGN_OR_RETURN(const Place place, place_of(kWho, "PMI_RANK", "PMI_SIZE"));
  COMITY_ASSIGN_OR_RETURN(const std::optional<Secret> secret, read_secret(settings));
  COMITY_ASSIGN_OR_RETURN(KeyValueStore* const store, pmi1_store(Deadline::after_ms(kGreetWithinMs)));
  return make_key_value_launcher(is_set("SLURM_STEP_ID") ? "Slurm (PMI)" : "PMI", place, *store, secret);
}

// srun without an MPI plugin: it says where the ranks are, and passes nothing on.
Found by_slurm(const Settings& settings) {
  constexpr const char* kWho = "srun";
  const char* const size = is_set("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  COMITY_ASSIGN_OR_RETURN(const Place place, place_of(kWho, "SLURM_PROCID", size));
  KnownHost known;
  known.launcher = "Slurm without PMI (srun --mpi=pmi2 or pmix needs no secret file)";
  known.variable = is_set("MASTER_ADDR") ? "MASTER_ADDR" : "SLURM_STEP_NODELIST";
  known.host = is_set("MASTER_ADDR") ? variable("MASTER_ADDR") : first_host(variable("SLURM_STEP_NODELIST"));
  if (known.host.empty() && place.nranks > 1) {
    return Status(
        Code::kInvalidUsage,
        "srun's SLURM_PROCID is set and SLURM_STEP_NODELIST is not: set MASTER_ADDR to the address of "
        "rank 0's host");
  }
  known.job = fmt::format("slurm {} {} {}", variable("SLURM_JOB_ID"), variable("SLURM_STEP_ID"),
                          variable("SLURM_RESTART_COUNT"));
  return make_known_host_launcher(place, known, settings);
}

// A process that nobody started to be one of several.
class Alone final : public Launcher {
 public:
  Alone() : Launcher(Place{}) {}
  const char* name() const override { return "no launcher"; }
  Result<control::UniqueId> meet(const Deadline&) override { return control::create_unique_id(); }
};

}  // namespace

Result<std::unique_ptr<Launcher>> find_launcher(const Settings& settings) {
  switch (started_how()) {
    case Started::kByCaller:
      return by_own_variables(settings);
    case Started::kByTorchrun:
      return by_torchrun(settings);
    case Started::kByPmix:
      return by_pmix(settings);
    case Started::kByPmi1:
      return by_pmi1(settings);
    case Started::kBySlurm:
      return by_slurm(settings);
    case Started::kAlone:
      break;
  }
  return std::unique_ptr<Launcher>(std::make_unique<Alone>());
}

}  // namespace comity::launch
