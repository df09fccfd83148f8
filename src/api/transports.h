// Which transports there are, which of them a communicator may use, and which joins a pair of ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/base/bytes.h"
#include "src/base/settings.h"

namespace comity::api {

struct TransportKind {
  std::string_view name;
  bool in_memory;          // joins ranks of one host alone, and is a communicator's own
  bool needs_no_hardware;  // nor any library
  bool registers;          // memory
  Result<std::unique_ptr<Transport>> (*make)(const TransportContext&, const Settings&);
};
// All that were built.
std::span<const TransportKind> transport_kinds();
const TransportKind* transport_kind(std::string_view name);

// COMITY_TRANSPORTS: names in the order of preference; where it is empty, those that serve this machine.
struct WantedTransports {
  std::vector<std::string> names;
  bool chosen = false;  // by the user: the order decides, and what cannot be had is worth a warning
};
// kInvalidArgument: there is no such transport.
Result<WantedTransports> wanted_transports(const Settings& settings);

// COMITY_STRIPE: of which transports a pair of ranks uses all that join it; none: one alone.
// kInvalidArgument: there is no such transport, it joins no hosts, or two want registered memory.
Result<std::vector<std::string>> striped_transports(const Settings& settings);

// What a rank tells the others of its transports.
struct TransportOffer {
  bool chosen = false;
  std::vector<std::pair<std::string, Bytes>> addresses;  // by name, in the order of preference
  std::vector<std::pair<std::string, Rail>> rails;       // by the transport's name

  const Bytes* address_of(std::string_view name) const;
  // "shm, tcp", for errors.
  std::string names() const;
};
// What the rails of all ranks say of the network between them: of each rank the transport with the most
// bandwidth, over all its rails; of the ranks the least. Nothing where one does not know.
std::optional<PathFigures> reported_network(std::span<const TransportOffer> offers);
void put(ByteWriter& writer, const TransportOffer& offer);
// Check the reader afterwards.
TransportOffer get_transport_offer(ByteReader& reader);

// One transport that joins a pair.
struct Candidate {
  std::string name;
  PathFigures figures;
};
// Which of them joins two ranks, equal on both: the first in the order of the lower rank's choice, else of
// the higher's, else the one that takes least for a message of middle length. `candidates`: at least one.
size_t choose_transport(const TransportOffer& lower, const TransportOffer& higher,
                        std::span<const Candidate> candidates);

}  // namespace comity::api
