// What one communicator is made with: the settings of the process at that moment, and over them the fields of
// its comityConfig_t. Everything that makes a communicator reads this, and not the environment.
#pragma once

#include <cstdint>
#include <string>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/base/settings.h"

namespace comity::api {

struct CommConfig {
  Settings settings;  // those of the fields included, which have the source "config"
  bool blocking = true;
  uint64_t timeout_ms = 0;  // 0: no limit
  uint64_t init_timeout_ms = 0;
  bool deterministic = false;
  uint32_t max_lanes = 0;  // 0: no limit
  int progress_cpu = -1;   // -1: any
  std::string name;        // for logs and messages; may be empty
  // Of a split: how long it waits for the other ranks, as its own config says; 0: as the parent's calls.
  uint64_t split_timeout_ms = 0;
};

// "rank 1", for the log, with the communicator's name, if it has one.
std::string name_of_rank(uint32_t rank, const CommConfig& config);

// Reads the settings of the process, and over them `config`, which may be null. Texts are copied. Blocks as
// reading files does; any thread. kInvalidArgument names the field, or the setting and where it was set;
// kSystemError a file of settings that cannot be read or is refused.
Result<CommConfig> read_config(const comityConfig_t* config);
// A communicator that comes from another: what `config` leaves alone is `parent`'s. kInvalidArgument also
// where it asks for other transports or interfaces than the parent's, whose connections it shares.
Result<CommConfig> inherit_config(const CommConfig& parent, const comityConfig_t* config);

}  // namespace comity::api
