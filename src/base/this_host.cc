#include "src/base/this_host.h"

#include <sys/stat.h>

#include <cstring>

#include "src/base/bytes.h"
#include "src/base/file.h"
#include "src/base/handshake.h"

namespace comity {

std::string boot_id(const std::string& procfs) {
  return first_line_of(procfs + "/sys/kernel/random/boot_id");
}

uint64_t network_namespace() {
  struct stat space {};
  return ::stat("/proc/self/ns/net", &space) == 0 ? static_cast<uint64_t>(space.st_ino) : 0;
}

uint64_t machine_hash() {
  ByteWriter writer;
  writer.put_text(boot_id()).put(network_namespace());
  const auto hash = hash_of(writer.bytes());
  uint64_t machine = 0;
  std::memcpy(&machine, hash.data(), sizeof(machine));
  return machine;
}

}  // namespace comity
