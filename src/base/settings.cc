#include "src/base/settings.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace comity {
namespace {

constexpr Setting kSettings[] = {
    {"COMITY_ACCUMULATE", "", true, "fp32",
     "keeps and sends partial results of 8- and 16-bit floats in fp32; default: they are rounded once per "
     "level"},
    {"COMITY_ALGO", "", true, "collective:algorithm, comma-separated, as all_reduce:ring",
     "forces algorithms; `comity plan` shows what there is"},
    {"COMITY_ARENA_CAP", "0", false, "bytes",
     "most that MemAlloc may hold in this process; 0: half of physical memory"},
    {"COMITY_DEVICES", "host", false, "host, sim, comma-separated",
     "devices to open, in order of preference"},
    {"COMITY_HOSTID", "", false, "any text",
     "overrides how this rank's host is recognised; equal text means the same host"},
    {"COMITY_INIT_TIMEOUT_MS", "60000", false, "milliseconds", "how long CommInitRank waits for all ranks",
     1},
    {"COMITY_LOG", "warn", false, "error, warn, info or debug", "what is said on standard error"},
    {"COMITY_SOCKET_ADDRESS", "", false, "addresses, comma-separated, as 10.0.0.1 or [fd00::1]:5000",
     "what control and TCP sockets bind to; a port is the meeting point's"},
    {"COMITY_SOCKET_IFNAME", "", false,
     "beginnings of names, comma-separated, as eth,ib; =eth0 is just that; ^ excludes",
     "interfaces for sockets; several are rails"},
    {"COMITY_TCP_CONGESTION", "", false, "a name of net.ipv4.tcp_available_congestion_control",
     "congestion control of data sockets; default: the better one, measured on this host"},
    {"COMITY_TCP_CONNECTIONS", "1", true, "a number from 1 to 16", "TCP connections per peer and rail", 1,
     16},
    {"COMITY_TIMEOUT", "0", false, "seconds",
     "how long a collective may get no further, its peers alive, before it fails; 0: no limit", 0,
     1'000'000'000},
    {"COMITY_TOPO_FILE", "", false, "a file that `comity topo` wrote",
     "describes this machine, instead of discovery"},
    {"COMITY_TRANSPORTS", "", true, "shm, tcp, comma-separated", "transports to use; default: all"},
};

const Setting& named(std::string_view name) {
  const auto* found = std::find_if(std::begin(kSettings), std::end(kSettings),
                                   [&](const Setting& setting) { return name == setting.name; });
  if (found != std::end(kSettings)) return *found;
  fmt::print(stderr, "comity: internal: setting {} is not in the table\n", name);
  std::abort();
}

// Bits that a suffix shifts by; -1: none.
int shift_of(std::string_view suffix) {
  if (suffix.empty()) return 0;
  return suffix == "K" ? 10 : suffix == "M" ? 20 : suffix == "G" ? 30 : -1;
}

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

std::string setting_text(std::string_view name) {
  const Setting& setting = named(name);
  const char* text = std::getenv(setting.name);
  return text != nullptr && *text != '\0' ? text : setting.default_value;
}

Result<uint64_t> setting_number(std::string_view name) {
  const Setting& setting = named(name);
  const std::string text = setting_text(name);
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const int shift = shift_of(std::string_view(rest, static_cast<size_t>(end - rest)));
  const bool whole = error == std::errc() && shift >= 0 && value <= (UINT64_MAX >> std::max(shift, 0));
  if (whole && value << shift >= setting.least && value << shift <= setting.most) return value << shift;
  return Status(
      Code::kInvalidArgument,
      fmt::format("{}=\"{}\": it takes {}, a whole number (with K, M or G if you like){}", name, text,
                  setting.accepts, error == std::errc::result_out_of_range ? ", and this is too large" : ""));
}

}  // namespace comity
