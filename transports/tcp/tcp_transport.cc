#include "transports/tcp/tcp_transport.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "src/base/berth.h"
#include "src/base/log.h"
#include "transports/tcp/congestion.h"
#include "transports/tcp/connector.h"
#include "transports/tcp/rails.h"
#include "transports/tcp/tcp_endpoint.h"

namespace comity::tcp {
namespace {

constexpr uint32_t kEpoch = 0;  // a path is never fenced yet
// Few large calls win on one connection; several share the work in pieces small enough to balance unequal
// rails.
constexpr uint32_t kSegmentBytesAlone = 512 * 1024;
constexpr uint32_t kSegmentBytesShared = 256 * 1024;
constexpr uint64_t kConnectPauseNs = 10'000;  // between looks at what is not connected yet
// Every rank listens before it tells its address: no answer for so long is a firewall or a missing route, and
// not a rank that is late.
constexpr uint64_t kReachableWithinMs = 10'000;
constexpr uint64_t kRedialNs = 1'000'000;
constexpr uint64_t kHeldBackNs = 50'000;  // until a rail that holds back is asked again

struct Peer {
  bool reached = false;
  RankAddress address;
  std::vector<RailPair> rails;  // first: the lower rank's
  std::vector<std::unique_ptr<TcpEndpoint>> owned;
  std::vector<Endpoint*> endpoints;
};

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(const TransportContext& context)
      : context_(context), acceptor_(context.secret, kHandshakeMs), peers_(context.nranks) {}
  Status open(const Settings& settings);

  std::string_view name() const override { return "tcp"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  Status progress() override;
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper& sleeper) override;
  void disarm(Sleeper& sleeper) override;

 private:
  struct Dialing {
    Dialer dialer;
    TcpEndpoint* endpoint;
  };
  // A thread that sleeps, or is about to.
  struct Armed {
    Sleeper* sleeper = nullptr;  // null: none; the entry is kept, so that no sleep allocates
    uint32_t times = 0;          // by as many communicators
    uint32_t first = 0;          // the sleeper's number of the first endpoint's descriptor
    std::vector<TcpEndpoint*> endpoints;
  };

  Status listen_everywhere(const std::vector<NetworkInterface>& interfaces);
  uint8_t number_of(const NetworkInterface& interface) const;
  void make_endpoint(uint32_t peer, uint32_t index, uint32_t count);
  void dial(TcpEndpoint& endpoint, const RailPair& pair, const RankAddress& peer);
  void adopt(Acceptor::Accepted accepted);
  bool expected(const HandshakeHello& hello) const;
  void attach(TcpEndpoint& endpoint, UniqueFd socket);
  Status step_connecting();
  bool connecting() const { return awaited_ > 0 || !dialing_.empty() || acceptor_.has_strangers(); }
  Armed& armed_for(Sleeper* sleeper);
  void watch_endpoints(Armed& armed);

  TransportContext context_;
  std::optional<Settings> settings_;  // of open()
  RankAddress self_;
  std::vector<NetworkInterface> interfaces_;  // one per rail of self_
  std::vector<std::byte> address_;
  std::string congestion_;
  uint64_t patience_ms_ = 60'000;
  Acceptor acceptor_;
  std::vector<Peer> peers_;
  std::vector<Dialing> dialing_;
  uint32_t awaited_ = 0;  // endpoints whose peer has not connected yet
  std::map<std::pair<uint32_t, uint64_t>, UniqueFd>
      early_;  // (rank, index): connected before endpoints() asked
  std::vector<Acceptor::Accepted> accepted_;
  uint64_t next_step_ns_ = 0;

  std::vector<TcpEndpoint*> connected_;
  const BerthReserve berth_{true};
  std::vector<Armed> armed_{1};
  std::vector<pollfd> connecting_polled_;
};

// --- opening -----------------------------------------------------------------------------------------------

Status TcpTransport::open(const Settings& settings) {
  settings_ = settings;
  COMITY_ASSIGN_OR_RETURN(congestion_, choose_congestion_control(settings));
  COMITY_ASSIGN_OR_RETURN(patience_ms_, settings.number("COMITY_INIT_TIMEOUT_MS"));
  patience_ms_ = std::min(patience_ms_, kReachableWithinMs);
  COMITY_ASSIGN_OR_RETURN(const uint64_t connections, settings.number("COMITY_TCP_CONNECTIONS"));
  if (connections == 0 || connections > kMaxConnections) {
    return Status(Code::kInvalidArgument, fmt::format("COMITY_TCP_CONNECTIONS={}: from 1 to {} are possible",
                                                      connections, kMaxConnections));
  }
  COMITY_ASSIGN_OR_RETURN(const auto interfaces, usable_interfaces(settings));
  self_.host = this_host();
  self_.connections = static_cast<uint32_t>(connections);
  COMITY_RETURN_IF_ERROR(listen_everywhere(interfaces));
  address_ = encode(self_);
  return {};
}

// An address on which nothing can listen is left out, unless it is the last. A new IPv6 address cannot be
// bound until the kernel knows that it is unique, which takes about two seconds: that is waited for if there
// is no other.
Status TcpTransport::listen_everywhere(const std::vector<NetworkInterface>& interfaces) {
  const Deadline deadline = Deadline::after_ms(3'000);
  Status last;
  do {
    for (const NetworkInterface& interface : interfaces) {
      if (self_.rails.size() == kMaxRails) break;
      auto bound = acceptor_.listen(interface.address, congestion_);
      if (!bound.ok()) {
        last = bound.status();
        COMITY_LOG_INFO("tcp: address {} of {} is left out: {}", interface.address.text(), interface.name,
                        last.message());
        continue;
      }
      self_.rails.push_back({*bound, interface.prefix_bits, number_of(interface)});
      interfaces_.push_back(interface);
    }
    const timespec pause{0, 50'000'000};
    if (self_.rails.empty()) ::nanosleep(&pause, nullptr);
  } while (self_.rails.empty() && !deadline.passed());
  return self_.rails.empty() ? last.in("tcp") : Status();
}

// Addresses of one interface have one number, in the order of the rails.
uint8_t TcpTransport::number_of(const NetworkInterface& interface) const {
  for (size_t i = 0; i < interfaces_.size(); ++i) {
    const bool loops =
        interface.loopback && interfaces_[i].loopback;  // 127.0.0.1 and 127.0.0.2 are two rails
    if (interfaces_[i].index == interface.index && !loops) return self_.rails[i].interface;
  }
  return static_cast<uint8_t>(interfaces_.size());
}

Status TcpTransport::reach(uint32_t peer, std::span<const std::byte> address) {
  if (peer >= context_.nranks || peer == context_.rank) {
    return Status(Code::kInvalidArgument,
                  fmt::format("tcp: rank {} cannot reach rank {}", context_.rank, peer));
  }
  auto decoded = decode(address);
  if (!decoded.ok()) return decoded.status().in(fmt::format("rank {}", peer));
  if (peers_[peer].reached) return {};
  auto rails = context_.rank < peer ? pair_rails(self_, *decoded) : pair_rails(*decoded, self_);
  if (rails.empty()) {
    return Status(
        Code::kUnsupported,
        fmt::format("tcp: no address of rank {} ({}) meets one of rank {} ({}); see COMITY_SOCKET_IFNAME{}",
                    context_.rank, describe(self_), peer, describe(*decoded),
                    interfaces_left_out(&*settings_)));
  }
  peers_[peer].address = std::move(decoded).value();
  peers_[peer].rails = std::move(rails);
  peers_[peer].reached = true;
  return {};
}

Result<std::span<Endpoint* const>> TcpTransport::endpoints(uint32_t peer) {
  if (peer >= peers_.size() || !peers_[peer].reached) {
    return Status(Code::kInvalidUsage,
                  fmt::format("tcp: rank {} was not reached by rank {}", peer, context_.rank));
  }
  Peer& to = peers_[peer];
  if (to.endpoints.empty()) {
    const uint32_t connections = std::min(self_.connections, to.address.connections);
    const auto count = static_cast<uint32_t>(to.rails.size()) * connections;
    for (uint32_t index = 0; index < count; ++index) make_endpoint(peer, index, count);
  }
  return std::span<Endpoint* const>(to.endpoints);
}

// Endpoint `index` is connection index / rails of rail index % rails, so that the first ones are on different
// rails.
void TcpTransport::make_endpoint(uint32_t peer, uint32_t index, uint32_t count) {
  Peer& to = peers_[peer];
  const RailPair& pair = to.rails[index % to.rails.size()];
  const bool accepts = context_.rank < peer;
  const uint32_t mine = accepts ? pair.lower : pair.higher;
  const NetworkInterface& interface = interfaces_[mine];
  EndpointConfig config;
  config.peer = peer;
  config.index = index;
  config.interface = interface.name;
  config.one_of_several = count > 1;
  config.keeper = context_.connections;
  config.traits.segment_bytes = count > 1 ? kSegmentBytesShared : kSegmentBytesAlone;
  config.traits.latency_ns = self_.host == to.address.host ? 5'000 : 15'000;
  const uint64_t bits_per_s = interface.speed_bits_per_s > 0 ? interface.speed_bits_per_s : 40'000'000'000u;
  config.traits.bandwidth_bytes_per_s = std::max<uint64_t>(bits_per_s / 8 / (count / to.rails.size()), 1);
  config.limits = {config.traits.segment_bytes, kEpoch};
  to.owned.push_back(std::make_unique<TcpEndpoint>(std::move(config)));
  TcpEndpoint& made = *to.owned.back();
  to.endpoints.push_back(&made);
  if (!accepts) return dial(made, pair, to.address);
  const auto early = early_.find({peer, index});
  if (early == early_.end()) {
    ++awaited_;
    return;
  }
  attach(made, std::move(early->second));
  early_.erase(early);
}

// Of whoever dials, which is the higher rank.
void TcpTransport::dial(TcpEndpoint& endpoint, const RailPair& pair, const RankAddress& peer) {
  DialPlan plan;
  const auto add_way = [&plan](const RailAddress& mine, const RailAddress& theirs) {
    DialPlan::Way way{mine.address, theirs.address};
    way.from.set_port(0);
    if (way.to.family() ==
        AF_INET6) {  // a link-local address is on our interface, whatever the peer calls its own
      auto& to = reinterpret_cast<sockaddr_in6&>(way.to.storage);
      to.sin6_scope_id = reinterpret_cast<const sockaddr_in6&>(mine.address.storage).sin6_scope_id;
    }
    plan.ways.push_back(way);
  };
  add_way(self_.rails[pair.higher], peer.rails[pair.lower]);
  for (size_t mine = 0; pair.link_local && mine < self_.rails.size(); ++mine) {
    for (const RailAddress& theirs : peer.rails) {
      const RailAddress& own = self_.rails[mine];
      const bool both = is_link_local(own) && is_link_local(theirs);
      if (both && own.address.family() == theirs.address.family()) add_way(own, theirs);
    }
  }
  plan.secret = context_.secret;
  plan.hello = {SocketRole::kData, kEpoch,           context_.rank,
                endpoint.peer(),   endpoint.index(), context_.communicator};
  plan.congestion = congestion_;
  plan.patience_ms = patience_ms_;
  dialing_.push_back({Dialer(std::move(plan)), &endpoint});
  next_step_ns_ = 0;
}

void TcpTransport::attach(TcpEndpoint& endpoint, UniqueFd socket) {
  endpoint.attach(std::move(socket));
  connected_.push_back(&endpoint);
  for (Armed& armed : armed_) {
    armed.endpoints.reserve(connected_.size());           // so that no sleep allocates
    if (armed.sleeper != nullptr) armed.sleeper->ring();  // it does not watch this one yet
  }
  COMITY_LOG_DEBUG("rank {}: {} to rank {}", context_.rank, endpoint.describe(), endpoint.peer());
}

// --- connecting --------------------------------------------------------------------------------------------

bool TcpTransport::expected(const HandshakeHello& hello) const {
  return hello.role == SocketRole::kData && hello.epoch == kEpoch &&
         hello.communicator == context_.communicator && hello.peer_rank == context_.rank &&
         hello.rank > context_.rank && hello.rank < context_.nranks &&
         hello.detail < kMaxRails * kMaxConnections;
}

void TcpTransport::adopt(Acceptor::Accepted accepted) {
  const HandshakeHello& hello = accepted.hello;
  if (!expected(hello)) {
    COMITY_LOG_WARN("tcp: rank {} refused a connection of rank {} meant for rank {} of communicator {:#x}",
                    context_.rank, hello.rank, hello.peer_rank, hello.communicator);
    return;
  }
  Peer& from = peers_[hello.rank];
  if (from.endpoints.empty()) {
    early_[{hello.rank, hello.detail}] = std::move(accepted.socket);
    return;
  }
  TcpEndpoint* endpoint = hello.detail < from.owned.size() ? from.owned[hello.detail].get() : nullptr;
  if (endpoint == nullptr || endpoint->connected() || !endpoint->status().ok()) {
    COMITY_LOG_WARN(
        "tcp: rank {} refused connection {} of rank {}: there is no such, or there is one already",
        context_.rank, hello.detail, hello.rank);
    return;
  }
  assert(awaited_ > 0);
  --awaited_;
  attach(*endpoint, std::move(accepted.socket));
}

Status TcpTransport::progress() {
  if (!connecting()) return {};
  const uint64_t start_ns = now_ns();
  if (start_ns < next_step_ns_) return {};
  COMITY_RETURN_IF_ERROR(step_connecting());
  // Looking at many strangers takes long; what is connected already has most of the time.
  next_step_ns_ = now_ns() + std::max(kConnectPauseNs, 4 * (now_ns() - start_ns));
  return {};
}

Status TcpTransport::step_connecting() {
  COMITY_RETURN_IF_ERROR(
      acceptor_.step(awaited_ > 0, accepted_).in(fmt::format("tcp: rank {}", context_.rank)));
  for (auto& accepted : accepted_) adopt(std::move(accepted));
  accepted_.clear();
  const uint64_t at_ns = now_ns();
  for (size_t i = 0; i < dialing_.size();) {
    auto connected = dialing_[i].dialer.step(at_ns);
    if (connected.ok() && !*connected) {
      ++i;
      continue;
    }
    TcpEndpoint& endpoint = *dialing_[i].endpoint;
    if (connected.ok()) {
      attach(endpoint, dialing_[i].dialer.take());
    } else {
      endpoint.fail(
          connected.status().code(),
          fmt::format("rank {} {}; check firewalls and routes between the two, or name the network with "
                      "COMITY_SOCKET_IFNAME",
                      context_.rank, connected.status().message()));
    }
    if (i + 1 < dialing_.size()) dialing_[i] = std::move(dialing_.back());
    dialing_.pop_back();
  }
  return {};
}

// --- sleeping ----------------------------------------------------------------------------------------------

// The entry of this sleeper; of null: a free one.
TcpTransport::Armed& TcpTransport::armed_for(Sleeper* sleeper) {
  const auto found = std::find_if(armed_.begin(), armed_.end(),
                                  [sleeper](const Armed& armed) { return armed.sleeper == sleeper; });
  return found != armed_.end() ? *found : armed_.emplace_back();
}

void TcpTransport::arm(Sleeper& sleeper) {
  for (Armed& armed : armed_) {
    if (armed.sleeper != &sleeper) continue;
    ++armed.times;
    return;
  }
  Armed& armed = armed_for(nullptr);
  armed.sleeper = &sleeper;
  armed.times = 1;
  watch_endpoints(armed);
  if (!connecting()) return;
  connecting_polled_.clear();
  acceptor_.wait_for(awaited_ > 0, connecting_polled_);
  for (const Dialing& dialing : dialing_) connecting_polled_.push_back(dialing.dialer.waits_for());
  for (const pollfd& each : connecting_polled_) sleeper.watch(each.fd, each.events);
  if (!dialing_.empty() || acceptor_.has_strangers()) sleeper.at_most(kRedialNs);
}

// Readiness that a sleep reported and nobody looked at does not end another sleep: the caller does not wait
// for it. Whoever does looks at it before it sleeps, and is then polled again (TcpEndpoint::progress).
void TcpTransport::watch_endpoints(Armed& armed) {
  armed.endpoints.clear();
  for (TcpEndpoint* endpoint : connected_) {
    if (!endpoint->connected()) continue;
    if (endpoint->holding_back()) armed.sleeper->at_most(kHeldBackNs);
    if (endpoint->announced()) continue;
    const auto events = static_cast<short>(POLLIN | (endpoint->sending() ? POLLOUT : 0));
    const uint32_t number = armed.sleeper->watch(endpoint->fd(), events);
    if (armed.endpoints.empty()) armed.first = number;
    armed.endpoints.push_back(endpoint);
  }
}

void TcpTransport::disarm(Sleeper& sleeper) {
  Armed& armed = armed_for(&sleeper);
  if (armed.times == 0 || --armed.times != 0) return;
  for (uint32_t i = 0; i < armed.endpoints.size(); ++i) {
    if (sleeper.reported(armed.first + i) != 0) armed.endpoints[i]->announce();
  }
  armed.sleeper = nullptr;
}

}  // namespace

Result<std::unique_ptr<Transport>> make_tcp_transport(const TransportContext& context,
                                                      const Settings& settings) {
  auto transport = std::make_unique<TcpTransport>(context);
  COMITY_RETURN_IF_ERROR(transport->open(settings));
  return std::unique_ptr<Transport>(std::move(transport));
}

Result<std::unique_ptr<Transport>> make_tcp_transport(const TransportContext& context) {
  COMITY_ASSIGN_OR_RETURN(const Settings settings, Settings::read());
  return make_tcp_transport(context, settings);
}

}  // namespace comity::tcp
