// Launchers that keep a key-value store for the processes of a job: rank 0 puts the id there.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "src/api/launch/launcher.h"
#include "src/base/handshake.h"

namespace comity::launch {

// One job's store, as one of its processes sees it. One thread at a time.
class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;
  // Rank 0 gives `value`, of letters and digits, and the others take it; each key once. Both block until
  // that is done, and may wait for all ranks. kTimeout, kSystemError.
  virtual Status give(const std::string& key, const std::string& value, const Deadline& deadline) = 0;
  virtual Result<std::string> take(const std::string& key, const Deadline& deadline) = 0;
};

// `store` lives as long as the process; `secret` as in secret_file.h.
std::unique_ptr<Launcher> make_key_value_launcher(const char* name, Place place, KeyValueStore& store,
                                                  const std::optional<Secret>& secret);

}  // namespace comity::launch
