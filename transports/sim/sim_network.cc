#include "transports/sim/sim_network.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <map>
#include <queue>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "src/base/bytes.h"
#include "transports/sim/sim_endpoint.h"

namespace comity::sim {
namespace {

constexpr uint32_t kAddressMagic = 0x004d4953;  // "SIM"

class VirtualClock final : public Clock {
 public:
  uint64_t now_ns() const override { return now_ns_; }
  void move_to(uint64_t now_ns) { now_ns_ = now_ns; }

 private:
  uint64_t now_ns_ = 0;
};

struct Event {
  uint64_t at_ns;
  uint64_t order;  // of scheduling: events of one time keep it
  SimEndpoint* endpoint;
  EventKind kind;
  bool operator>(const Event& other) const {
    return std::tie(at_ns, order) > std::tie(other.at_ns, other.order);
  }
};

}  // namespace

class Network::Impl final : public EventQueue {
 public:
  Impl(uint64_t seed, uint32_t nranks, NetworkOptions options)
      : seed_(seed), nranks_(nranks), options_(std::move(options)) {
    options_.rails = std::max(options_.rails, 1u);
  }

  uint64_t now_ns() const override { return clock_.now_ns(); }
  void schedule(uint64_t at_ns, SimEndpoint& endpoint, EventKind kind) override {
    events_.push({at_ns, scheduled_++, &endpoint, kind});
  }

  std::byte* exposed(const RemoteMemory& memory, uint64_t offset, uint64_t bytes) const override;

  SimEndpoint& endpoint(uint32_t self, uint32_t peer, uint32_t rail);
  uint64_t register_memory(std::byte* data, uint64_t bytes);
  void forget_memory(uint64_t key) { memory_.erase(key); }
  uint64_t registered() const { return memory_.size(); }
  uint64_t registrations_made() const { return next_key_ - 1; }
  uint32_t put_bytes() const { return options_.put_bytes; }
  bool advance();
  void fail_rank(uint32_t rank);
  void leave(uint32_t rank);

  const Clock& clock() const { return clock_; }
  uint64_t trace_hash() const { return trace_; }
  uint64_t event_count() const { return handled_; }
  uint32_t nranks() const { return nranks_; }
  uint32_t rails() const { return options_.rails; }

 private:
  using Key = std::tuple<uint32_t, uint32_t, uint32_t>;  // self, peer, rail
  std::unique_ptr<SimEndpoint> make_endpoint(const Key& key);
  void trace(uint64_t value) { trace_ = mix(trace_ ^ value); }
  void record(const Event& event);

  const uint64_t seed_;
  const uint32_t nranks_;
  NetworkOptions options_;
  VirtualClock clock_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t scheduled_ = 0;
  uint64_t handled_ = 0;
  uint64_t trace_ = 0;
  std::map<Key, std::unique_ptr<SimEndpoint>> endpoints_;
  std::set<uint32_t> dead_;                          // ranks that died or left
  std::map<uint64_t, std::span<std::byte>> memory_;  // by key
  uint64_t next_key_ = 1;
};

uint64_t Network::Impl::register_memory(std::byte* data, uint64_t bytes) {
  memory_.emplace(next_key_, std::span(data, bytes));
  return next_key_++;
}

std::byte* Network::Impl::exposed(const RemoteMemory& memory, uint64_t offset, uint64_t bytes) const {
  ByteReader reader(memory.words);
  const auto key = reader.get<uint64_t>();
  const auto start = reader.get<uint64_t>();
  const auto found = memory_.find(key);
  if (found == memory_.end()) return nullptr;
  const uint64_t size = found->second.size();
  if (start > size || offset > size - start || bytes > size - start - offset) return nullptr;
  return found->second.data() + start + offset;
}

std::unique_ptr<SimEndpoint> Network::Impl::make_endpoint(const Key& key) {
  EndpointConfig config;
  std::tie(config.self, config.peer, config.rail) = key;
  config.options = options_;
  config.out = options_.link_of ? options_.link_of(config.self, config.peer, config.rail) : options_.link;
  SplitMix mixer(seed_);
  for (const uint64_t part : {config.self, config.peer, config.rail}) mixer = SplitMix(mixer.next() ^ part);
  config.seed = mixer.next();
  return std::make_unique<SimEndpoint>(*this, config);
}

// Both ends are made at first sight of either, so that what arrives early has a place.
SimEndpoint& Network::Impl::endpoint(uint32_t self, uint32_t peer, uint32_t rail) {
  assert(self < nranks_ && peer < nranks_ && self != peer && rail < options_.rails);
  auto& here = endpoints_[{self, peer, rail}];
  if (here != nullptr) return *here;
  auto& there = endpoints_[{peer, self, rail}];
  here = make_endpoint({self, peer, rail});
  there = make_endpoint({peer, self, rail});
  here->join(*there);
  there->join(*here);
  for (const uint32_t rank : {self, peer}) {
    if (dead_.count(rank) == 0) continue;
    here->fail(fmt::format("rank {} is gone", rank));
    there->fail(fmt::format("rank {} is gone", rank));
  }
  return *here;
}

void Network::Impl::record(const Event& event) {
  const SegmentHeader& header = event.endpoint->last_header();
  trace(event.at_ns);
  trace(static_cast<uint64_t>(event.kind) << 56 | static_cast<uint64_t>(event.endpoint->rail()) << 48 |
        static_cast<uint64_t>(event.endpoint->self()) << 24 | event.endpoint->peer());
  trace(header.number);
  trace(static_cast<uint64_t>(header.length) << 32 | static_cast<uint64_t>(header.lane) << 8 |
        static_cast<uint64_t>(header.kind));
}

bool Network::Impl::advance() {
  if (events_.empty()) return false;
  const uint64_t at_ns = events_.top().at_ns;
  clock_.move_to(at_ns);
  while (!events_.empty() && events_.top().at_ns == at_ns) {
    const Event event = events_.top();
    events_.pop();
    event.endpoint->handle(event.kind);
    ++handled_;
    record(event);
  }
  return true;
}

void Network::Impl::fail_rank(uint32_t rank) {
  dead_.insert(rank);
  for (auto& [key, endpoint] : endpoints_) {
    if (endpoint->self() == rank || endpoint->peer() == rank)
      endpoint->fail(fmt::format("rank {} died", rank));
  }
}

void Network::Impl::leave(uint32_t rank) {
  dead_.insert(rank);
  for (auto& [key, endpoint] : endpoints_) {
    if (endpoint->self() == rank) endpoint->close();
  }
}

namespace {

class SimRegistration final : public Registration {
 public:
  SimRegistration(std::weak_ptr<Network::Impl> network, std::byte* data, uint64_t key)
      : network_(std::move(network)), data_(data), key_(key) {}
  ~SimRegistration() override {
    if (const auto network = network_.lock()) network->forget_memory(key_);
  }
  std::byte* data() const { return data_; }
  uint64_t key() const { return key_; }

 private:
  std::weak_ptr<Network::Impl> network_;
  std::byte* data_;
  uint64_t key_;
};

class SimTransport final : public Transport {
 public:
  SimTransport(std::weak_ptr<Network::Impl> network, uint32_t rank, uint32_t nranks)
      : network_(std::move(network)), rank_(rank), endpoints_(nranks) {
    address_ = ByteWriter().put(kAddressMagic).put(rank).take();
  }
  ~SimTransport() override {
    if (const auto network = network_.lock()) network->leave(rank_);
  }

  std::string_view name() const override { return "sim"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  Status progress() override { return {}; }
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  uint64_t registers_from() const override {
    const auto network = network_.lock();
    return network == nullptr ? 0 : network->put_bytes();
  }
  Result<std::unique_ptr<Registration>> register_memory(const Device* device, std::byte* data,
                                                        uint64_t bytes) override;
  RemoteMemory expose(const TargetMemory& memory) const override;
  void arm(Sleeper& sleeper) override { sleeper.at_most(0); }
  void disarm(Sleeper&) override {}

 private:
  std::weak_ptr<Network::Impl> network_;
  uint32_t rank_;
  std::vector<std::byte> address_;
  std::vector<std::vector<Endpoint*>> endpoints_;  // by peer
};

Status SimTransport::reach(uint32_t peer, std::span<const std::byte> address) {
  ByteReader reader(address);
  const auto magic = reader.get<uint32_t>();
  const auto rank = reader.get<uint32_t>();
  if (!reader.at_end() || magic != kAddressMagic) {
    return Status(Code::kUnsupported, fmt::format("rank {} has no simulated address", peer));
  }
  if (rank != peer || peer >= endpoints_.size() || peer == rank_) {
    return Status(Code::kInvalidArgument,
                  fmt::format("rank {} reached for rank {} of {} with the address of rank {}", rank_, peer,
                              endpoints_.size(), rank));
  }
  return {};
}

Result<std::unique_ptr<Registration>> SimTransport::register_memory(const Device*, std::byte* data,
                                                                    uint64_t bytes) {
  const auto network = network_.lock();
  if (network == nullptr) return Status(Code::kSystemError, "the network is gone");
  return std::unique_ptr<Registration>(
      std::make_unique<SimRegistration>(network, data, network->register_memory(data, bytes)));
}

RemoteMemory SimTransport::expose(const TargetMemory& memory) const {
  const auto& registration = static_cast<const SimRegistration&>(*memory.registration);
  const uint64_t words[2] = {registration.key(), static_cast<uint64_t>(memory.data - registration.data())};
  RemoteMemory exposed;
  std::memcpy(exposed.words.data(), words, sizeof(words));
  return exposed;
}

Result<std::span<Endpoint* const>> SimTransport::endpoints(uint32_t peer) {
  const auto network = network_.lock();
  if (network == nullptr || peer >= endpoints_.size() || peer == rank_) {
    return Status(Code::kInvalidArgument, fmt::format("rank {} has no endpoints to rank {}", rank_, peer));
  }
  auto& list = endpoints_[peer];
  for (uint32_t rail = static_cast<uint32_t>(list.size()); rail < network->rails(); ++rail) {
    list.push_back(&network->endpoint(rank_, peer, rail));
  }
  return std::span<Endpoint* const>(list);
}

}  // namespace

Network::Network(uint64_t seed, uint32_t nranks, NetworkOptions options)
    : impl_(std::make_shared<Impl>(seed, nranks, std::move(options))) {}
Network::~Network() = default;

std::unique_ptr<Transport> Network::make_transport(uint32_t rank) {
  assert(rank < impl_->nranks());
  return std::make_unique<SimTransport>(impl_, rank, impl_->nranks());
}

const Clock& Network::clock() const {
  return impl_->clock();
}
bool Network::advance() {
  return impl_->advance();
}
uint64_t Network::trace_hash() const {
  return impl_->trace_hash();
}
uint64_t Network::event_count() const {
  return impl_->event_count();
}

uint64_t Network::registered() const {
  return impl_->registered();
}
uint64_t Network::registrations_made() const {
  return impl_->registrations_made();
}

void Network::fail_at(uint32_t from, uint32_t to, uint32_t rail, uint64_t segment) {
  impl_->endpoint(from, to, rail).break_at(segment);
}
void Network::fail_rank(uint32_t rank) {
  impl_->fail_rank(rank);
}

}  // namespace comity::sim
