#include "src/api/launch/variables.h"

#include <fmt/core.h>

#include <charconv>
#include <cstdlib>

namespace comity::launch {

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::string() : std::string(text);
}

Started started_how() {
  if (is_set("COMITY_RANK") || is_set("COMITY_NRANKS") || is_set("COMITY_RENDEZVOUS"))
    return Started::kByCaller;
  if (is_set("TORCHELASTIC_RUN_ID")) return Started::kByTorchrun;
  if (is_set("PMIX_RANK") && is_set("PMIX_NAMESPACE")) return Started::kByPmix;
  if (is_set("PMI_FD")) return Started::kByPmi1;
  if (is_set("RANK") && is_set("WORLD_SIZE")) return Started::kByTorchrun;
  // In a batch script's own process Slurm's variables speak of the job, and nobody has started its tasks yet.
  if (is_set("SLURM_PROCID") && is_set("SLURM_STEP_ID")) return Started::kBySlurm;
  return is_set("RANK") || is_set("WORLD_SIZE") ? Started::kByTorchrun : Started::kAlone;
}

Result<uint32_t> number_of(const char* who, const char* name) {
  const std::string text = variable(name);
  if (text.empty()) {
    return Status(Code::kInvalidUsage,
                  fmt::format("this process looks as if {} had started it, but {} is not set", who, name));
  }
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return Status(Code::kInvalidUsage,
                fmt::format("{}=\"{}\", which {} sets, is no whole number that can be one", name, text, who));
}

Result<Place> place_of(const char* who, const char* rank_name, const char* nranks_name) {
  COMITY_ASSIGN_OR_RETURN(const uint32_t rank, number_of(who, rank_name));
  COMITY_ASSIGN_OR_RETURN(const uint32_t nranks, number_of(who, nranks_name));
  if (rank < nranks) return Place{rank, nranks};
  return Status(Code::kInvalidUsage,
                fmt::format("{}={} and {}={} ({}): a rank is less than the number of ranks", rank_name, rank,
                            nranks_name, nranks, who));
}

}  // namespace comity::launch
