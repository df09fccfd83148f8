// Launchers that say on which host rank 0 is and no more: all ranks know a secret from a file, so that rank 0
// opens the meeting point at COMITY_PORT and the others need no id to find it.
#pragma once

#include <memory>
#include <string>

#include "src/api/launch/launcher.h"
#include "src/base/handshake.h"

namespace comity::launch {

struct KnownHost {
  const char* launcher = "";  // for people
  std::string variable;       // where the host's name is from: "MASTER_ADDR"
  std::string host;           // name or address of rank 0's host
  std::string job;            // what tells this job from others that have the same secret; may be empty
  // After how long those that are not rank 0 give up on a port that somebody else answers at, and on one that
  // takes connections and says nothing, which a host under load does for a while.
  int stranger_for_ms = 6000;
  int silent_for_ms = 12'000;
};

// kInvalidUsage: COMITY_SECRET_FILE is not set or is refused.
Result<std::unique_ptr<Launcher>> make_known_host_launcher(Place place, const KnownHost& known,
                                                           const Settings& settings);

}  // namespace comity::launch
