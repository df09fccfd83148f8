#include "transports/verbs/verbs_transport.h"

#include <fmt/core.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/this_host.h"
#include "transports/verbs/device.h"
#include "transports/verbs/letters.h"
#include "transports/verbs/verbs_endpoint.h"

namespace comity::verbs {
namespace {

constexpr uint32_t kEpoch = 1;
constexpr uint64_t kLatencyNs = 2'500;
constexpr uint64_t kLeaveMs = 1'000;
constexpr uint64_t kLetterAgainNs = 500'000'000;  // one may be lost where the control tree is mended
constexpr uint32_t kTroubleEvery = 4096;          // polls between looks at asynchronous events

class VerbsTransport final : public Transport, private MailReceiver {
 public:
  explicit VerbsTransport(const TransportContext& context)
      : context_(context), key_(letter_key(context.secret, context.communicator)), peers_(context.nranks) {}
  ~VerbsTransport() override;

  Status open(const Settings& settings);

  std::string_view name() const override { return "verbs"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  PathFigures figures(uint32_t peer) const override;
  std::vector<comity::Rail> rails() const override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  Status progress() override;
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  uint64_t registers_from() const override { return VerbsEndpoint::kPutBytes; }
  Result<std::unique_ptr<Registration>> register_memory(const Device* device, std::byte* data,
                                                        uint64_t bytes) override;
  RemoteMemory expose(const TargetMemory& memory) const override;
  void arm(Sleeper& sleeper) override;
  void disarm(Sleeper& sleeper) override;

 private:
  struct Peer {
    std::optional<RankAddress> address;
    std::vector<RailPair> rails;
    std::vector<std::unique_ptr<VerbsEndpoint>> owned;
    std::vector<Endpoint*> endpoints;
    std::optional<LetterContent> card;  // that came
    bool connected = false;
    bool up = false;         // the peer said so
    uint64_t letter_ns = 0;  // when a letter was sent last
    bool awaits() const { return !owned.empty() && !(connected && up); }
  };

  void came(uint32_t from, std::span<const std::byte> letter) override;
  void read_letters();
  Status answer_letters();
  Status make_endpoints(uint32_t peer);
  void send_letter(uint32_t peer, LetterContent letter);
  void connect(uint32_t peer);
  void send_card(uint32_t peer);
  void send_up(uint32_t peer);
  void remind();
  uint32_t rail_of(const Peer& peer, uint32_t rank, size_t endpoint, bool mine) const;
  uint32_t device_of(uint32_t rail) const;
  void look_for_trouble();
  void ring_all();
  template <typename Visit>
  void each_endpoint(Visit visit) {
    for (Peer& peer : peers_) {
      for (const auto& endpoint : peer.owned) visit(*endpoint);
    }
  }

  const TransportContext context_;
  const Secret key_;
  QueueOptions options_;
  Ports ports_;
  RankAddress self_;
  std::vector<std::byte> address_;
  std::vector<Peer> peers_;
  uint32_t polls_ = 0;
  uint32_t awaited_ = 0;  // peers that are not connected yet, though they should be

  std::atomic<bool> attention_{false};  // a letter came
  std::mutex mutex_;                    // of what follows
  std::vector<LetterContent> letters_;
  std::vector<Sleeper*> sleepers_;
};

// Peers have all that was sent, or do not answer.
VerbsTransport::~VerbsTransport() {
  if (context_.mail != nullptr) context_.mail->close();
  each_endpoint([](VerbsEndpoint& endpoint) { endpoint.say_farewell(); });
  const Deadline deadline = Deadline::after_ms(kLeaveMs);
  for (bool all = false; !all && !deadline.passed();) {
    all = true;
    each_endpoint([&all](VerbsEndpoint& endpoint) { all = endpoint.has_left() && all; });
    if (!all) ::sched_yield();
  }
}

Result<uint8_t> small_number(const Settings& settings, const char* name) {
  COMITY_ASSIGN_OR_RETURN(const uint64_t number, settings.number(name));
  return static_cast<uint8_t>(number);
}

Status VerbsTransport::open(const Settings& settings) {
  if (context_.mail == nullptr) return Status(Code::kUnsupported, "verbs needs the control plane's letters");
  COMITY_ASSIGN_OR_RETURN(const Library* opened, library());
  COMITY_ASSIGN_OR_RETURN(ports_, open_ports(*opened, settings));
  COMITY_ASSIGN_OR_RETURN(options_.timeout, small_number(settings, "COMITY_VERBS_TIMEOUT"));
  COMITY_ASSIGN_OR_RETURN(options_.retries, small_number(settings, "COMITY_VERBS_RETRIES"));
  COMITY_ASSIGN_OR_RETURN(options_.service_level, small_number(settings, "COMITY_VERBS_SERVICE_LEVEL"));
  COMITY_ASSIGN_OR_RETURN(options_.traffic_class, small_number(settings, "COMITY_VERBS_TRAFFIC_CLASS"));
  COMITY_ASSIGN_OR_RETURN(const uint64_t mtu, settings.number("COMITY_VERBS_MTU"));
  for (uint8_t number = 1; mtu >= uint64_t{128} << number; ++number) options_.mtu = number;
  COMITY_ASSIGN_OR_RETURN(self_.queue_pairs, settings.number("COMITY_VERBS_QUEUE_PAIRS"));
  self_.host = machine_hash();
  for (const Rail& rail : ports_.rails) {
    self_.rails.push_back(rail.address);
    self_.rails.back().device =
        static_cast<uint8_t>(device_of(static_cast<uint32_t>(self_.rails.size() - 1)));
  }
  address_ = encode(self_);
  context_.mail->open(*this);
  return {};
}

// --- peers -------------------------------------------------------------------------------------------------

Status VerbsTransport::reach(uint32_t peer, std::span<const std::byte> address) {
  if (peer >= context_.nranks || peer == context_.rank) {
    return Status(Code::kInvalidArgument,
                  fmt::format("verbs: rank {} cannot reach rank {}", context_.rank, peer));
  }
  auto decoded = decode(address);
  if (!decoded.ok()) return decoded.status().in(fmt::format("rank {}", peer));
  if (peers_[peer].address) return {};
  auto rails = context_.rank < peer ? pair_rails(self_, *decoded) : pair_rails(*decoded, self_);
  if (rails.empty()) {
    return Status(Code::kUnsupported,
                  fmt::format("verbs: no port of rank {} ({}) is in one network with one of rank {} ({})",
                              context_.rank, describe(self_), peer, describe(*decoded)));
  }
  peers_[peer].address = std::move(decoded).value();
  peers_[peer].rails = std::move(rails);
  return {};
}

std::vector<comity::Rail> VerbsTransport::rails() const {
  std::vector<comity::Rail> rails;
  for (size_t i = 0; i < self_.rails.size(); ++i)
    rails.push_back({ports_.rails[i].describe(), {kLatencyNs, self_.rails[i].bandwidth_bytes_per_s}});
  return rails;
}

PathFigures VerbsTransport::figures(uint32_t peer) const {
  PathFigures figures{kLatencyNs, 0};
  for (const RailPair& pair : peers_[peer].rails) {
    const bool lower = context_.rank < peer;
    const RailAddress& mine = self_.rails[lower ? pair.lower : pair.higher];
    const RailAddress& theirs = peers_[peer].address->rails[lower ? pair.higher : pair.lower];
    figures.bandwidth_bytes_per_s += std::min(mine.bandwidth_bytes_per_s, theirs.bandwidth_bytes_per_s);
  }
  return figures;
}

// Endpoint i is queue pair i / rails of rail i % rails, so that the first ones are on different rails.
uint32_t VerbsTransport::rail_of(const Peer& peer, uint32_t rank, size_t endpoint, bool mine) const {
  const RailPair& pair = peer.rails[endpoint % peer.rails.size()];
  return (context_.rank < rank) == mine ? pair.lower : pair.higher;
}

uint32_t VerbsTransport::device_of(uint32_t rail) const {
  for (uint32_t i = 0; i < ports_.devices.size(); ++i) {
    if (ports_.devices[i].get() == ports_.rails[rail].device) return i;
  }
  return 0;
}

Result<std::span<Endpoint* const>> VerbsTransport::endpoints(uint32_t peer) {
  if (peer >= peers_.size() || !peers_[peer].address) {
    return Status(Code::kInvalidUsage,
                  fmt::format("verbs: rank {} was not reached by rank {}", peer, context_.rank));
  }
  if (peers_[peer].owned.empty()) {
    COMITY_RETURN_IF_ERROR(make_endpoints(peer));
    COMITY_RETURN_IF_ERROR(answer_letters());
  }
  return std::span<Endpoint* const>(peers_[peer].endpoints);
}

Status VerbsTransport::make_endpoints(uint32_t peer) {
  Peer& to = peers_[peer];
  const uint32_t queue_pairs = std::min(self_.queue_pairs, to.address->queue_pairs);
  std::vector<std::unique_ptr<VerbsEndpoint>> made;
  for (size_t i = 0; i < to.rails.size() * queue_pairs; ++i) {
    const uint32_t mine = rail_of(to, peer, i, true);
    const Rail& rail = ports_.rails[mine];
    EndpointConfig config;
    config.rank = context_.rank;
    config.peer = peer;
    config.device = device_of(mine);
    config.peer_rail = to.address->rails[rail_of(to, peer, i, false)];
    config.peer_device = config.peer_rail.device;
    config.rail = rail.describe();
    config.port = rail.port;
    config.traits.segment_bytes = VerbsEndpoint::kSegmentBytes;
    config.traits.put_bytes = VerbsEndpoint::kPutBytes;
    config.traits.latency_ns = kLatencyNs;
    config.traits.bandwidth_bytes_per_s = std::max<uint64_t>(
        std::min(rail.address.bandwidth_bytes_per_s, config.peer_rail.bandwidth_bytes_per_s) / queue_pairs,
        1);
    auto queue = Queue::make(rail, options_);
    if (!queue.ok()) return queue.status().in(fmt::format("verbs: rank {} to rank {}", context_.rank, peer));
    made.push_back(std::make_unique<VerbsEndpoint>(std::move(config), std::move(queue).value()));
  }
  to.owned = std::move(made);
  for (const auto& endpoint : to.owned) to.endpoints.push_back(endpoint.get());
  ++awaited_;
  send_card(peer);
  return {};
}

// --- letters -----------------------------------------------------------------------------------------------

void VerbsTransport::send_card(uint32_t peer) {
  LetterContent letter;
  letter.kind = LetterContent::Kind::kCard;
  for (const auto& endpoint : peers_[peer].owned) letter.queues.push_back(endpoint->card());
  send_letter(peer, std::move(letter));
}

void VerbsTransport::send_up(uint32_t peer) {
  LetterContent letter;
  letter.kind = LetterContent::Kind::kUp;
  send_letter(peer, std::move(letter));
}

void VerbsTransport::send_letter(uint32_t peer, LetterContent letter) {
  peers_[peer].letter_ns = now_ns();
  letter.from = context_.rank;
  letter.to = peer;
  letter.epoch = kEpoch;
  context_.mail->send(peer, seal(letter, key_));
}

// On the control thread.
void VerbsTransport::came(uint32_t from, std::span<const std::byte> letter) {
  auto content = unseal(letter, key_);
  if (!content || content->from != from || content->to != context_.rank || content->epoch != kEpoch ||
      from >= context_.nranks) {
    COMITY_LOG_WARN("verbs: rank {} dropped a letter of rank {} that cannot be", context_.rank, from);
    return;
  }
  const std::lock_guard lock(mutex_);
  letters_.push_back(std::move(*content));
  attention_.store(true, std::memory_order_release);
  for (Sleeper* sleeper : sleepers_) sleeper->ring();
}

void VerbsTransport::read_letters() {
  attention_.store(false, std::memory_order_relaxed);
  std::vector<LetterContent> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
  }
  for (LetterContent& letter : letters) {
    Peer& from = peers_[letter.from];
    const bool awaited = from.awaits();
    if (letter.kind == LetterContent::Kind::kUp) {
      from.up = true;
      for (const auto& endpoint : from.owned) endpoint->set_up();
    } else if (!from.card) {
      from.card = std::move(letter);
    } else if (from.connected) {
      send_up(letter.from);  // it did not hear
    }
    if (awaited && !from.awaits()) --awaited_;
  }
}

void VerbsTransport::remind() {
  const uint64_t now = now_ns();
  for (uint32_t peer = 0; peer < peers_.size(); ++peer) {
    Peer& to = peers_[peer];
    if (!to.awaits() || now - to.letter_ns < kLetterAgainNs) continue;
    send_card(peer);
    if (to.connected) send_up(peer);
  }
}

void VerbsTransport::connect(uint32_t peer) {
  Peer& to = peers_[peer];
  if (to.connected || !to.card || to.owned.empty()) return;
  to.connected = true;
  if (to.card->queues.size() != to.owned.size()) {
    for (const auto& endpoint : to.owned)
      endpoint->fail(Code::kRemoteError,
                     fmt::format("it has {} queue pairs for this rank, which has {} for it",
                                 to.card->queues.size(), to.owned.size()));
    return;
  }
  for (size_t i = 0; i < to.owned.size(); ++i) to.owned[i]->connect(to.card->queues[i]);
  send_up(peer);
  if (!to.up) return;
  --awaited_;
  for (const auto& endpoint : to.owned) endpoint->set_up();
}

// A peer that opens first is answered here, so that it can send before this rank has anything to say.
Status VerbsTransport::progress() {
  if (++polls_ % kTroubleEvery == 0) look_for_trouble();
  if (awaited_ != 0) remind();
  return attention_.load(std::memory_order_acquire) ? answer_letters() : Status();
}

Status VerbsTransport::answer_letters() {
  read_letters();
  for (uint32_t peer = 0; peer < peers_.size(); ++peer) {
    Peer& from = peers_[peer];
    if (!from.card || from.connected || !from.address) continue;
    if (from.owned.empty()) COMITY_RETURN_IF_ERROR(make_endpoints(peer));
    connect(peer);
  }
  return {};
}

void VerbsTransport::look_for_trouble() {
  for (uint32_t device = 0; device < ports_.devices.size(); ++device) {
    for (const OpenDevice::Trouble& trouble : ports_.devices[device]->troubles()) {
      each_endpoint([&](VerbsEndpoint& endpoint) {
        if (endpoint.is_on(device, trouble.port))
          endpoint.fail(Code::kSystemError,
                        fmt::format("this rank's port is of no use any more: {}", trouble.what));
      });
      ring_all();
    }
  }
}

void VerbsTransport::ring_all() {
  const std::lock_guard lock(mutex_);
  for (Sleeper* sleeper : sleepers_) sleeper->ring();
}

// --- memory ------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Registration>> VerbsTransport::register_memory(const Device* device, std::byte* data,
                                                                      uint64_t bytes) {
  if (device != nullptr && !device->host_addressable())
    return Status(Code::kUnsupported, "verbs: memory of a device is not registered, but copied to the host");
  auto made = std::make_unique<VerbsRegistration>(*library().value(), data);
  for (const auto& each : ports_.devices) {
    COMITY_ASSIGN_OR_RETURN(ibv_mr * region, each->register_memory(data, bytes));
    made->add(region);
  }
  return std::unique_ptr<Registration>(std::move(made));
}

RemoteMemory VerbsTransport::expose(const TargetMemory& memory) const {
  const auto& registration = static_cast<const VerbsRegistration&>(*memory.registration);
  ExposedMemory exposed;
  exposed.address = reinterpret_cast<uint64_t>(memory.data);
  for (size_t i = 0; i < registration.count(); ++i) exposed.keys[i] = registration.region(i).rkey;
  RemoteMemory named;
  std::memcpy(named.words.data(), &exposed, sizeof(exposed));
  return named;
}

// --- sleeping ----------------------------------------------------------------------------------------------

void VerbsTransport::arm(Sleeper& sleeper) {
  bool drained = false;
  for (const auto& device : ports_.devices) drained |= device->drain_channel();
  each_endpoint([](VerbsEndpoint& endpoint) {
    if (endpoint.connected()) endpoint.request_notice();
  });
  for (const auto& device : ports_.devices) {
    sleeper.watch(device->channel()->fd, POLLIN);
    sleeper.watch(device->context()->async_fd, POLLIN);
  }
  if (awaited_ != 0) sleeper.at_most(kLetterAgainNs);
  if (drained) ring_all();  // what it told may have been another's
  const std::lock_guard lock(mutex_);
  sleepers_.push_back(&sleeper);
  if (attention_.load(std::memory_order_acquire)) sleeper.ring();
}

void VerbsTransport::disarm(Sleeper& sleeper) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find(sleepers_.begin(), sleepers_.end(), &sleeper);
    if (found != sleepers_.end()) sleepers_.erase(found);
  }
  look_for_trouble();
}

}  // namespace

Result<std::unique_ptr<Transport>> make_verbs_transport(const TransportContext& context,
                                                        const Settings& settings) {
  auto transport = std::make_unique<VerbsTransport>(context);
  COMITY_RETURN_IF_ERROR(transport->open(settings));
  return std::unique_ptr<Transport>(std::move(transport));
}

Result<std::string> describe_verbs(const Settings& settings) {
  COMITY_ASSIGN_OR_RETURN(const Library* opened, library());
  COMITY_ASSIGN_OR_RETURN(const Ports ports, open_ports(*opened, settings));
  std::string text;
  for (const Rail& rail : ports.rails) text += (text.empty() ? "" : ", ") + rail.describe();
  return text;
}

}  // namespace comity::verbs
