// What a launcher leaves in the environment.
#pragma once

#include <cstdint>
#include <string>

#include "comity/plugin/result.h"

namespace comity::launch {

// A process's place in its job.
struct Place {
  uint32_t rank = 0;
  uint32_t nranks = 1;
};

// What the environment looks like, innermost launcher first: torchrun's agents may have been started by srun,
// mpirun in a job of Slurm.
enum class Started { kByCaller, kByTorchrun, kByPmix, kByPmi1, kBySlurm, kAlone };
Started started_how();

// The text of a variable; "" if it is not set.
std::string variable(const char* name);
inline bool is_set(const char* name) {
  return !variable(name).empty();
}
// A whole number. kInvalidUsage: `who` set it not, or to something else; names both.
Result<uint32_t> number_of(const char* who, const char* name);
// A rank and a number of ranks, checked against each other. kInvalidUsage.
Result<Place> place_of(const char* who, const char* rank_name, const char* nranks_name);

}  // namespace comity::launch
