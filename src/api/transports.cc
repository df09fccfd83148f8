#include "src/api/transports.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "src/base/text.h"
#include "transports/shm/shm_transport.h"
#include "transports/tcp/tcp_transport.h"
#include "transports/ucx/ucx_transport.h"
#include "transports/verbs/verbs_transport.h"

namespace comity::api {
namespace {

constexpr size_t kMostTransports = 16, kMostRails = 256;
constexpr uint64_t kComparedBytes = 256 * 1024;

constexpr TransportKind kKinds[] = {
    {"shm", true, true, false,
     [](const TransportContext& context, const Settings&) { return shm::make_shm_transport(context); }},
    {"verbs", false, false, true,
     [](const TransportContext& context, const Settings& settings) {
       return verbs::make_verbs_transport(context, settings);
     }},
    {"ucx", false, false, true,
     [](const TransportContext& context, const Settings&) { return ucx::make_ucx_transport(context); }},
    {"tcp", false, true, false,
     [](const TransportContext& context, const Settings& settings) {
       return tcp::make_tcp_transport(context, settings);
     }},
};
// UCX serves fabrics that nothing else here does, and changes the process that opens it: it is asked for.
constexpr std::string_view kDefault[] = {"shm", "verbs", "tcp"};

// Without RDMA nothing of it is opened, nor said.
bool serves_here(std::string_view name) {
  return name != "verbs" || ::access("/sys/class/infiniband", F_OK) == 0;
}

std::string all_names() {
  std::vector<std::string_view> names;
  for (const TransportKind& kind : kKinds) names.push_back(kind.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

// Each once, in their order.
Result<std::vector<std::string>> names_in(const Settings& settings, const char* setting) {
  const std::string& text = settings.text(setting);
  std::vector<std::string> names;
  for (const std::string_view name : split(text)) {
    if (transport_kind(name) == nullptr) {
      return Status(Code::kInvalidArgument,
                    fmt::format("{}=\"{}\": there is no transport \"{}\"; there are {}", setting, text, name,
                                all_names()));
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
  }
  return names;
}

uint64_t time_ns(const PathFigures& figures) {
  const uint64_t bandwidth = std::max<uint64_t>(figures.bandwidth_bytes_per_s, 1);
  return figures.latency_ns + kComparedBytes * 1'000'000'000u / bandwidth;
}

}  // namespace

std::span<const TransportKind> transport_kinds() {
  return kKinds;
}

const TransportKind* transport_kind(std::string_view name) {
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [name](const TransportKind& kind) { return kind.name == name; });
  return found == std::end(kKinds) ? nullptr : found;
}

Result<WantedTransports> wanted_transports(const Settings& settings) {
  WantedTransports wanted;
  COMITY_ASSIGN_OR_RETURN(wanted.names, names_in(settings, "COMITY_TRANSPORTS"));
  wanted.chosen = !wanted.names.empty();
  for (const std::string_view name : kDefault) {
    if (!wanted.chosen && serves_here(name)) wanted.names.emplace_back(name);
  }
  return wanted;
}

Result<std::vector<std::string>> striped_transports(const Settings& settings) {
  COMITY_ASSIGN_OR_RETURN(auto names, names_in(settings, "COMITY_STRIPE"));
  std::string registers;
  for (const std::string& name : names) {
    const TransportKind& kind = *transport_kind(name);
    if (kind.in_memory)
      return Status(Code::kInvalidArgument,
                    fmt::format("COMITY_STRIPE: {} joins no hosts; leave it out", name));
    if (!kind.registers) continue;
    if (!registers.empty()) {
      return Status(Code::kInvalidArgument,
                    fmt::format("COMITY_STRIPE: {} and {} both want registered memory, and a message is "
                                "registered once; name one of them",
                                registers, name));
    }
    registers = name;
  }
  return names;
}

// --- offers ------------------------------------------------------------------------------------------------

const Bytes* TransportOffer::address_of(std::string_view name) const {
  for (const auto& [its_name, address] : addresses) {
    if (its_name == name) return &address;
  }
  return nullptr;
}

std::string TransportOffer::names() const {
  std::vector<std::string_view> all;
  for (const auto& [name, address] : addresses) all.push_back(name);
  return fmt::format("{}", fmt::join(all, ", "));
}

void put(ByteWriter& writer, const TransportOffer& offer) {
  writer.put(static_cast<uint8_t>(offer.chosen)).put(static_cast<uint32_t>(offer.addresses.size()));
  for (const auto& [name, address] : offer.addresses) writer.put_text(name).put_blob(address);
  writer.put(static_cast<uint32_t>(offer.rails.size()));
  for (const auto& [name, rail] : offer.rails)
    writer.put_text(name)
        .put_text(rail.name)
        .put(rail.figures.latency_ns)
        .put(rail.figures.bandwidth_bytes_per_s);
}

TransportOffer get_transport_offer(ByteReader& reader) {
  TransportOffer offer;
  offer.chosen = reader.get<uint8_t>() == 1;
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && i < kMostTransports && reader.ok(); ++i) {
    std::string name = reader.get_text();
    const auto blob = reader.get_blob();
    offer.addresses.emplace_back(std::move(name), Bytes(blob.begin(), blob.end()));
  }
  const auto rails = reader.get<uint32_t>();
  for (uint32_t i = 0; i < rails && i < kMostRails && reader.ok(); ++i) {
    auto& [name, rail] = offer.rails.emplace_back(reader.get_text(), Rail());
    rail.name = reader.get_text();
    rail.figures.latency_ns = reader.get<uint64_t>();
    rail.figures.bandwidth_bytes_per_s = reader.get<uint64_t>();
  }
  return offer;
}

std::optional<PathFigures> reported_network(std::span<const TransportOffer> offers) {
  PathFigures network{0, UINT64_MAX};
  for (const TransportOffer& offer : offers) {
    std::map<std::string_view, PathFigures> by_transport;
    for (const auto& [name, rail] : offer.rails) {
      PathFigures& all = by_transport[name];
      all.latency_ns = std::max(all.latency_ns, rail.figures.latency_ns);
      all.bandwidth_bytes_per_s += rail.figures.bandwidth_bytes_per_s;
    }
    const auto best =
        std::max_element(by_transport.begin(), by_transport.end(), [](const auto& a, const auto& b) {
          return a.second.bandwidth_bytes_per_s < b.second.bandwidth_bytes_per_s;
        });
    if (best == by_transport.end() || best->second.bandwidth_bytes_per_s == 0) return std::nullopt;
    network.latency_ns = std::max(network.latency_ns, best->second.latency_ns);
    network.bandwidth_bytes_per_s =
        std::min(network.bandwidth_bytes_per_s, best->second.bandwidth_bytes_per_s);
  }
  return offers.empty() ? std::nullopt : std::optional(network);
}

// --- choosing ----------------------------------------------------------------------------------------------

size_t choose_transport(const TransportOffer& lower, const TransportOffer& higher,
                        std::span<const Candidate> candidates) {
  if (const TransportOffer* chooser = lower.chosen ? &lower : higher.chosen ? &higher : nullptr) {
    for (const auto& [name, address] : chooser->addresses) {
      for (size_t i = 0; i < candidates.size(); ++i) {
        if (candidates[i].name == name) return i;
      }
    }
  }
  const auto best = std::min_element(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return std::pair(time_ns(a.figures), a.name) < std::pair(time_ns(b.figures), b.name);
  });
  return static_cast<size_t>(best - candidates.begin());
}

}  // namespace comity::api
