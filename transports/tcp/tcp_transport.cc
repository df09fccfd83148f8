#include "transports/tcp/tcp_transport.h"

#include <fmt/core.h>
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
#include "src/base/this_host.h"
#include "transports/tcp/congestion.h"
#include "transports/tcp/connector.h"
#include "transports/tcp/door.h"
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
// The higher rank dials at its first call to the peer. A lower one that has something to send waits no longer
// for that: the higher may not call for long.
constexpr uint64_t kFirstContactNs = 20'000'000;

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
      : context_(context), door_(context.secret, attention_), peers_(context.nranks) {}
  ~TcpTransport() override;
  Status open(const Settings& settings);

  std::string_view name() const override { return "tcp"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  std::vector<Rail> rails() const override { return reported_rails(interfaces_); }
  Status progress() override;
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper& sleeper) override;
  void disarm(Sleeper& sleeper) override;

 private:
  // If the peer cannot be reached. It may be that only the higher rank of the two reaches the other: then
  // that one dials, at its first call, and later where it waits.
  enum class Otherwise : uint8_t { kFail, kOnceMore, kWait };
  struct Dialing {
    Dialer dialer;
    TcpEndpoint* endpoint;
    Otherwise otherwise;
  };
  // A thread that sleeps, or is about to.
  struct Armed {
    Sleeper* sleeper = nullptr;           // null: none; the entry is kept, so that no sleep allocates
    uint32_t times = 0;                   // by as many communicators
    uint32_t first = 0;                   // the sleeper's number of the first endpoint's descriptor
    std::vector<TcpEndpoint*> endpoints;  // by descriptor
  };

  void make_endpoint(uint32_t peer, uint32_t index, uint32_t count);
  void dial(TcpEndpoint& endpoint, Otherwise otherwise);
  void dial_for_wanting();
  void adopt(Acceptor::Accepted accepted);
  bool expected(const HandshakeHello& hello) const;
  void attach(TcpEndpoint& endpoint, UniqueFd socket, bool from_higher);
  Status take_arrived();
  Status step_connecting();
  void step_dialing();
  bool awaits() const;
  bool is_stuck() const;  // somebody needs a connection that is not there
  // Connections are being made here, by who calls.
  bool connecting() const {
    return !dialing_.empty() || !wanting_.endpoints.empty() ||
           (!door_.in_background() && (door_.has_strangers() || awaits()));
  }
  Armed& armed_for(Sleeper* sleeper);
  void watch_endpoints(Armed& armed);

  TransportContext context_;
  std::optional<Settings> settings_;  // of open()
  RankAddress self_;
  std::vector<NetworkInterface> interfaces_;  // one per rail of self_
  std::vector<std::byte> address_;
  std::string congestion_;
  uint64_t patience_ms_ = 60'000;
  uint64_t idle_close_ms_ = 0;
  std::atomic<bool> attention_{false};  // progress() has something to do
  Door door_;
  std::vector<Peer> peers_;
  std::vector<Dialing> dialing_;
  Wanting wanting_{{}, attention_};
  std::vector<TcpEndpoint*> made_;
  // (rank, index): connected before endpoints() asked, in order where a peer gave one up meanwhile.
  std::multimap<std::pair<uint32_t, uint64_t>, UniqueFd> early_;
  std::vector<Acceptor::Accepted> accepted_;
  uint64_t next_step_ns_ = 0;

  std::vector<TcpEndpoint*> connected_;
  const BerthReserve berth_{true};
  std::vector<Armed> armed_{1};
  std::vector<pollfd> connecting_polled_;
};

// What peers connected and nobody took may bring what they sent, and they are to hear of an end in order.
TcpTransport::~TcpTransport() {
  const auto keep = [this](UniqueFd socket) {
    if (socket.valid() && context_.connections != nullptr) context_.connections->keep(socket.release(), {});
  };
  door_.close();
  static_cast<void>(door_.take(accepted_));
  for (Acceptor::Accepted& each : accepted_) keep(std::move(each.socket));
  for (auto& each : early_) keep(std::move(each.second));
  for (Dialing& each : dialing_) keep(each.dialer.take());
}

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
  COMITY_ASSIGN_OR_RETURN(idle_close_ms_, settings.number("COMITY_IDLE_CLOSE_MS"));
  COMITY_ASSIGN_OR_RETURN(const auto interfaces, usable_interfaces(settings));
  self_.host = machine_hash();
  self_.connections = static_cast<uint32_t>(connections);
  COMITY_ASSIGN_OR_RETURN(interfaces_, door_.listen(interfaces, congestion_, self_.rails));
  address_ = encode(self_);
  door_.open(context_.background, idle_close_ms_ == 0 ? 0 : std::max<uint64_t>(idle_close_ms_ / 4, 1));
  return {};
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
    COMITY_RETURN_IF_ERROR(take_arrived());
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
  const NetworkInterface& interface = interfaces_[accepts ? pair.lower : pair.higher];
  EndpointConfig config;
  config.peer = peer;
  config.index = index;
  config.interface = interface.name;
  config.one_of_several = count > 1 || !settings_->text("COMITY_STRIPE").empty();
  config.keeper = context_.connections;
  config.wanting = &wanting_;
  config.higher = !accepts;
  config.traits.segment_bytes = count > 1 ? kSegmentBytesShared : kSegmentBytesAlone;
  config.traits.latency_ns = self_.host == to.address.host ? 5'000 : kNetworkLatencyNs;
  const uint64_t bits_per_s = interface.speed_bits_per_s > 0 ? interface.speed_bits_per_s : 40'000'000'000u;
  config.traits.bandwidth_bytes_per_s = std::max<uint64_t>(bits_per_s / 8 / (count / to.rails.size()), 1);
  config.limits = {config.traits.segment_bytes, kEpoch};
  to.owned.push_back(std::make_unique<TcpEndpoint>(std::move(config)));
  TcpEndpoint& made = *to.owned.back();
  to.endpoints.push_back(&made);
  made_.push_back(&made);
  wanting_.endpoints.reserve(made_.size());
  const auto [early, end] = early_.equal_range({peer, index});
  for (auto each = early; each != end; ++each) attach(made, std::move(each->second), accepts);
  early_.erase(early, end);
  if (!accepts && !made.connected()) dial(made, Otherwise::kFail);
  attention_ = true;
}

void TcpTransport::dial(TcpEndpoint& endpoint, Otherwise otherwise) {
  const RankAddress& peer = peers_[endpoint.peer()].address;
  const auto& rails = peers_[endpoint.peer()].rails;
  const RailPair& pair = rails[endpoint.index() % rails.size()];
  const bool higher = context_.rank > endpoint.peer();
  DialPlan plan;
  plan.ways = ways_between(self_, peer, pair, higher);
  plan.secret = context_.secret;
  plan.hello = {SocketRole::kData, kEpoch,           context_.rank,
                endpoint.peer(),   endpoint.index(), context_.communicator};
  plan.congestion = congestion_;
  plan.patience_ms = patience_ms_;
  dialing_.push_back({Dialer(std::move(plan)), &endpoint, otherwise});
  next_step_ns_ = 0;
}

// Both ends know of both, where each dialed.
void TcpTransport::attach(TcpEndpoint& endpoint, UniqueFd socket, bool from_higher) {
  if (!endpoint.ever_connected()) connected_.push_back(&endpoint);
  endpoint.attach(std::move(socket), from_higher);
  // Others that are being dialed may be forgotten by then.
  for (Dialing& dialing : dialing_) {
    if (dialing.endpoint == &endpoint && dialing.otherwise == Otherwise::kFail)
      dialing.otherwise = Otherwise::kOnceMore;
  }
  for (Armed& armed : armed_) {
    armed.endpoints.reserve(2 * connected_.size());       // so that no sleep allocates
    if (armed.sleeper != nullptr) armed.sleeper->ring();  // it does not watch this one yet
  }
  COMITY_LOG_DEBUG("rank {}: {} to rank {}", context_.rank, endpoint.describe(), endpoint.peer());
}

// --- connecting --------------------------------------------------------------------------------------------

bool TcpTransport::expected(const HandshakeHello& hello) const {
  return hello.role == SocketRole::kData && hello.epoch == kEpoch &&
         hello.communicator == context_.communicator && hello.peer_rank == context_.rank &&
         hello.rank != context_.rank && hello.rank < context_.nranks &&
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
    early_.emplace(std::pair(hello.rank, hello.detail), std::move(accepted.socket));
    return;
  }
  if (hello.detail >= from.owned.size()) {
    COMITY_LOG_WARN("tcp: rank {} refused connection {} of rank {}: there is no such", context_.rank,
                    hello.detail, hello.rank);
    return;
  }
  attach(*from.owned[hello.detail], std::move(accepted.socket), hello.rank > context_.rank);
}

// What a peer dialed is taken into use, whoever had to.
Status TcpTransport::take_arrived() {
  door_.step();
  if (door_.take(accepted_)) {
    for (auto& accepted : accepted_) adopt(std::move(accepted));
    accepted_.clear();
  }
  const Status status = door_.status();
  return status.ok() || !is_stuck() ? Status() : status.in(fmt::format("tcp: rank {}", context_.rank));
}

bool TcpTransport::is_stuck() const {
  return std::any_of(made_.begin(), made_.end(),
                     [](const TcpEndpoint* endpoint) { return endpoint->needs_connection(); });
}

bool TcpTransport::awaits() const {
  return std::any_of(made_.begin(), made_.end(), [](const TcpEndpoint* endpoint) {
    return !endpoint->connected() && endpoint->status().ok();
  });
}

Status TcpTransport::progress() {
  if (!attention_.load(std::memory_order_relaxed)) return {};
  const uint64_t start_ns = now_ns();
  if (start_ns < next_step_ns_) return {};
  attention_.exchange(false, std::memory_order_acquire);
  const Status stepped = step_connecting();
  if (!stepped.ok() || connecting()) attention_ = true;
  COMITY_RETURN_IF_ERROR(stepped);
  // Looking at many strangers takes long; what is connected already has most of the time.
  next_step_ns_ = now_ns() + std::max(kConnectPauseNs, 4 * (now_ns() - start_ns));
  return {};
}

Status TcpTransport::step_connecting() {
  COMITY_RETURN_IF_ERROR(take_arrived());
  if (door_.look_due(now_ns())) {
    for (TcpEndpoint* endpoint : connected_) endpoint->retire_if_idle(idle_close_ms_);
  }
  dial_for_wanting();
  step_dialing();
  return {};
}

void TcpTransport::dial_for_wanting() {
  const uint64_t now = now_ns();
  std::erase_if(wanting_.endpoints, [&](TcpEndpoint* endpoint) {
    const auto is_its = [endpoint](const Dialing& dialing) { return dialing.endpoint == endpoint; };
    if (endpoint->connected() || !endpoint->status().ok() ||
        std::any_of(dialing_.begin(), dialing_.end(), is_its))
      return true;
    const bool first = !endpoint->ever_connected();
    if (first && now - endpoint->wanted_since_ns() < kFirstContactNs) return false;
    const bool higher = context_.rank > endpoint->peer();
    dial(*endpoint, first ? Otherwise::kWait : higher ? Otherwise::kFail : Otherwise::kOnceMore);
    return true;
  });
}

void TcpTransport::step_dialing() {
  const uint64_t at_ns = now_ns();
  std::vector<TcpEndpoint*> again;
  for (size_t i = 0; i < dialing_.size();) {
    auto connected = dialing_[i].dialer.step(at_ns);
    if (connected.ok() && !*connected) {
      ++i;
      continue;
    }
    TcpEndpoint& endpoint = *dialing_[i].endpoint;
    const bool needed = endpoint.needs_connection();
    if (connected.ok()) {
      attach(endpoint, dialing_[i].dialer.take(), context_.rank > endpoint.peer());
    } else if (dialing_[i].otherwise == Otherwise::kOnceMore && needed) {
      again.push_back(&endpoint);
    } else if (dialing_[i].otherwise == Otherwise::kFail && needed) {
      endpoint.fail(
          connected.status().code(),
          fmt::format("rank {} {}; check firewalls and routes between the two, or name the network with "
                      "COMITY_SOCKET_IFNAME",
                      context_.rank, connected.status().message()));
    }
    if (i + 1 < dialing_.size()) dialing_[i] = std::move(dialing_.back());
    dialing_.pop_back();
  }
  for (TcpEndpoint* endpoint : again) dial(*endpoint, Otherwise::kFail);
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
  door_.add(sleeper);
  if (attention_.load(std::memory_order_acquire))
    sleeper.at_most(kRedialNs);  // progress() looks only now and then
  if (!connecting()) return;
  connecting_polled_.clear();
  if (!door_.in_background()) door_.wait_for(connecting_polled_);
  for (const Dialing& dialing : dialing_) connecting_polled_.push_back(dialing.dialer.waits_for());
  for (const pollfd& each : connecting_polled_) sleeper.watch(each.fd, each.events);
  const bool strangers = !door_.in_background() && door_.has_strangers();
  if (!dialing_.empty() || !wanting_.endpoints.empty() || strangers) sleeper.at_most(kRedialNs);
}

// Readiness that a sleep reported and nobody looked at does not end another sleep: the caller does not wait
// for it. Whoever does looks at it before it sleeps, and is then polled again (TcpEndpoint::progress).
void TcpTransport::watch_endpoints(Armed& armed) {
  armed.endpoints.clear();
  for (TcpEndpoint* endpoint : connected_) {
    if (endpoint->held_back()) armed.sleeper->at_most(kHeldBackNs);
    if (endpoint->announced()) continue;
    endpoint->each_descriptor([&](int descriptor, short events) {
      const uint32_t number = armed.sleeper->watch(descriptor, events);
      if (armed.endpoints.empty()) armed.first = number;
      armed.endpoints.push_back(endpoint);
    });
  }
}

void TcpTransport::disarm(Sleeper& sleeper) {
  Armed& armed = armed_for(&sleeper);
  if (armed.times == 0 || --armed.times != 0) return;
  for (uint32_t i = 0; i < armed.endpoints.size(); ++i) {
    if (sleeper.reported(armed.first + i) != 0) armed.endpoints[i]->announce();
  }
  door_.remove(sleeper);
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
