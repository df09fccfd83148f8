// A file on a folder that all ranks share, in which rank 0 leaves the unique id.
//
// A file of an earlier run names a meeting point that is gone, so nobody believes a file before the meeting
// point in it has answered a handshake over its secret. Rank 0 replaces one that does not answer, and removes
// its own when everyone has joined.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "src/api/launch/launcher.h"
#include "src/base/handshake.h"

namespace comity::launch {

std::unique_ptr<Launcher> make_rendezvous_file_launcher(Place place, const std::string& path,
                                                        const std::optional<Secret>& secret);

}  // namespace comity::launch
