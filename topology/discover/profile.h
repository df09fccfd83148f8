// What was measured on a machine, kept for later runs: latency and bandwidth of each transport between its
// parts. A profile belongs to the structure of a machine (structural_hash, figures excluded), so a repair
// that changes nothing keeps it, and a card that was moved does not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// From rank to rank, one way.
struct MeasuredPath {
  std::string transport;  // "shm"
  std::string from, to;   // ids in the machine's canonical graph: "h0.numa0"; equal: within
  uint64_t latency_ns = 0;
  uint64_t bandwidth_bytes_per_s = 0;
  bool operator==(const MeasuredPath&) const = default;
};

struct Profile {
  uint64_t structure = 0;  // structural_hash() of the machine
  std::vector<MeasuredPath> paths;
  bool operator==(const Profile&) const = default;
};

std::string to_json(const Profile& profile);
// kInvalidArgument names `origin` and what is wrong.
Result<Profile> profile_from_json(std::string_view text, const std::string& origin);

// In the user's cache folder (`folder` empty), "profile-<structure>.json". load: an empty profile where there
// is none, or it is damaged or of another structure or version. Both block for a file.
Status store_profile(const Profile& profile, const std::string& folder = "");
Profile load_profile(uint64_t structure, const std::string& folder = "");

// Writes figures of shared memory into the links that carry it: host to NUMA domain (within one domain), and
// the link between two domains. Figures of other transports stay in the profile.
void apply(const Profile& profile, Graph& graph);

}  // namespace comity::topology
