#include "src/base/this_host.h"

#include <sys/stat.h>

#include "src/base/file.h"

namespace comity {

std::string boot_id(const std::string& procfs) {
  return first_line_of(procfs + "/sys/kernel/random/boot_id");
}

uint64_t network_namespace() {
  struct stat space {};
  return ::stat("/proc/self/ns/net", &space) == 0 ? static_cast<uint64_t>(space.st_ino) : 0;
}

}  // namespace comity
