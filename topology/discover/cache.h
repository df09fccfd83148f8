// What discovery found, kept for the next process of this boot: a file for each boot in the user's cache
// folder. It is taken only while a fingerprint of the hardware stays the same; whatever is wrong with it,
// discovery runs anew.
#pragma once

#include <optional>
#include <string>

#include "topology/discover/discover.h"

namespace comity::topology {

// Of names and speeds that the kernel lists, of the options, and of what this process may see of them; a few
// hundred small reads.
std::string fingerprint(const DiscoverOptions& options);

class Cache {
 public:
  // The file for this boot. kInvalidUsage: no folder is known (neither XDG_CACHE_HOME nor HOME is set), or no
  // boot.
  static Result<Cache> of(const DiscoverOptions& options);
  const std::string& path() const { return path_; }
  // None: there is no file, or it is damaged, of another version, of other hardware, or of another user.
  std::optional<Discovered> load(const std::string& fingerprint) const;
  // Replaces the file in one step, readable by this user alone. kSystemError says why not.
  Status store(const std::string& fingerprint, const Discovered& found) const;

 private:
  std::string folder_, path_;
};

}  // namespace comity::topology
