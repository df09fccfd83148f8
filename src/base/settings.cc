#include "src/base/settings.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace comity {
namespace {

constexpr Setting kSettings[] = {
    {"COMITY_ALGO", "", true, "force algorithms: collective:name[,collective:name...], as all_reduce:ring"},
    {"COMITY_ARENA_CAP", "0", false,
     "most bytes MemAlloc may hold in this process; 0: half of physical memory"},
    {"COMITY_DEVICES", "host", false, "devices to open, in order of preference: host, sim"},
    {"COMITY_HOSTID", "", false,
     "overrides how this rank's host is recognised; equal text means the same host"},
    {"COMITY_INIT_TIMEOUT_MS", "60000", false, "how long CommInitRank waits for all ranks"},
    {"COMITY_LOG", "warn", false, "error, warn, info or debug"},
    {"COMITY_SOCKET_ADDRESS", "", false,
     "addresses, comma-separated, that control and TCP sockets bind to; a port is the meeting point's"},
    {"COMITY_SOCKET_IFNAME", "", false,
     "interfaces for sockets, comma-separated; ^name excludes; several are rails"},
    {"COMITY_TCP_CONGESTION", "", false,
     "congestion control of data sockets; default: measured choice of this host"},
    {"COMITY_TCP_CONNECTIONS", "1", true, "TCP connections per peer and rail"},
    {"COMITY_TIMEOUT", "0", false, "seconds a collective may get no further, its peers alive, before it fails; 0: no limit"},
    {"COMITY_TOPO_FILE", "", false,
     "file that describes this machine, instead of discovery: `comity topo` wrote it"},
    {"COMITY_TRANSPORTS", "", true, "transports to use, comma-separated, of shm and tcp; default: all"},
};

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

std::string setting_text(std::string_view name) {
  const auto* found = std::find_if(std::begin(kSettings), std::end(kSettings),
                                   [&](const Setting& setting) { return name == setting.name; });
  if (found == std::end(kSettings)) {
    fmt::print(stderr, "comity: internal: setting {} is not in the table\n", name);
    std::abort();
  }
  const char* text = std::getenv(found->name);
  return text != nullptr ? text : found->default_value;
}

Result<uint64_t> setting_number(std::string_view name) {
  const std::string text = setting_text(name);
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  int shift = 0;
  if (error == std::errc() && rest + 1 == end) {
    shift = *rest == 'K' ? 10 : *rest == 'M' ? 20 : *rest == 'G' ? 30 : 0;
    if (shift != 0) ++rest;
  }
  if (error != std::errc() || rest != end || value > (UINT64_MAX >> shift)) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{}=\"{}\" is not a whole number (optional suffix K, M or G)", name, text));
  }
  return value << shift;
}

}  // namespace comity
