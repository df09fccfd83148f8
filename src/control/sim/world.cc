#include "src/control/sim/world.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/control/sim/loop.h"
#include "src/control/sim/stream.h"

namespace comity::control::sim {
namespace {

constexpr uint32_t kFirstAddress = 0x0a000001;  // 10.0.0.1 is host 0

uint32_t ipv4_of(const SocketAddress& address) {
  return ntohl(reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr.s_addr);
}

SocketAddress address_of(uint32_t host, uint16_t port) {
  SocketAddress address;
  address.length = sizeof(sockaddr_in);
  auto& ipv4 = reinterpret_cast<sockaddr_in&>(address.storage);
  ipv4.sin_family = AF_INET;
  ipv4.sin_addr.s_addr = htonl(kFirstAddress + host);
  address.set_port(port);
  return address;
}

}  // namespace

World::World(uint64_t seed, uint32_t processes, const WorldOptions& options)
    : options_(options), random_(mix(seed)), traffic_(processes) {
  const uint32_t hosts = (processes + options_.per_host - 1) / options_.per_host;
  next_port_.assign(hosts, 1000);
  cut_off_.assign(hosts, false);
  for (uint32_t i = 0; i < processes; ++i)
    loops_.push_back(std::make_unique<SimLoop>(*this, i, mix(seed, i + 1)));
}

World::~World() {
  for (const auto& loop : loops_) loop->drop_all();
  events_.clear();
  loops_.clear();
}

Loop& World::loop(uint32_t process) {
  return *loops_[process];
}

const Traffic& World::traffic(uint32_t process) const {
  return traffic_[process];
}

// --- Time ------------------------------------------------------------------------------------------------

void World::at(uint64_t at_ns, Action action) {
  const uint32_t before = turn_to(kNetwork);
  events_.push_back(Event{at_ns, next_order_++, std::move(action)});
  std::push_heap(events_.begin(), events_.end(), is_later);
  turn_to(before);
}

bool World::step() {
  if (events_.empty()) return false;
  std::pop_heap(events_.begin(), events_.end(), is_later);
  const Event event = std::move(events_.back());
  events_.pop_back();
  now_ns_ = event.at_ns;
  ++events_done_;
  note(event.at_ns);
  turn_to(kNetwork);
  event.action();
  return true;
}

bool World::run_until(const std::function<bool()>& condition, uint64_t ms) {
  const uint64_t end_ns = now_ns_ + ms * 1'000'000u;
  while (!condition()) {
    if (events_.empty() || events_.front().at_ns > end_ns) return false;
    step();
  }
  return true;
}

void World::run_for_ms(uint64_t ms) {
  run_until([] { return false; }, ms);
}

// --- Addresses -------------------------------------------------------------------------------------------

uint64_t World::key_of(const SocketAddress& address) {
  return uint64_t{ipv4_of(address)} << 16 | address.port();
}

Listeners World::listen(uint32_t process) {
  const uint32_t host = host_of(process);
  const SocketAddress address = address_of(host, next_port_[host]++);
  auto listener = std::make_unique<SimListener>(*loops_[process], address);
  listeners_[key_of(address)] = listener.get();
  Listeners listeners;
  listeners.addresses.push_back(address);
  listeners.sockets.push_back(std::move(listener));
  return listeners;
}

SimListener* World::listener_at(const SocketAddress& address) const {
  const auto found = listeners_.find(key_of(address));
  return found == listeners_.end() ? nullptr : found->second;
}

bool World::reachable(uint32_t from, const SocketAddress& to) const {
  const uint32_t host = ipv4_of(to) - kFirstAddress;
  if (isolated_ || host == host_of(from)) return true;
  return host < cut_off_.size() && !cut_off_[host] && !cut_off_[host_of(from)];
}

std::shared_ptr<const Bytes> World::in_flight(std::span<const std::byte> bytes) {
  constexpr size_t kLarge = 16 * 1024;
  const bool is_large = bytes.size() >= kLarge;
  if (const auto last = is_large ? last_large_.lock() : nullptr;
      last && last->size() == bytes.size() && std::memcmp(last->data(), bytes.data(), bytes.size()) == 0)
    return last;
  const auto copy = std::make_shared<const Bytes>(bytes.begin(), bytes.end());
  if (is_large) last_large_ = copy;
  return copy;
}

// --- Faults ----------------------------------------------------------------------------------------------

void World::kill(uint32_t process, bool connections_stay) {
  note(process);
  loops_[process]->die(connections_stay);
}

size_t World::watches() const {
  size_t count = 0;
  for (const auto& loop : loops_) count += loop->watches();
  return count;
}

bool World::is_dead(uint32_t process) const {
  return loops_[process]->dead();
}

void World::exit(uint32_t process) {
  loops_[process]->begin_to_end();
}

void World::freeze(uint32_t process) {
  loops_[process]->set_frozen(true);
}

void World::thaw(uint32_t process) {
  loops_[process]->set_frozen(false);
}

void World::cut_off(uint32_t host) {
  cut_off_[host] = true;
  for (const auto& loop : loops_) {
    for (const auto& [made, end] : loop->ends()) {
      if (!end->peer() || host_of(loop->number()) != host) continue;
      if (host_of(end->peer()->loop().number()) != host) end->lose_path();
    }
  }
}

void World::break_connections(uint32_t one, uint32_t other) {
  const auto ends = loops_[one]->ends();
  for (const auto& [made, end] : ends) {
    const std::shared_ptr<End> peer = end->peer();
    if (!peer || peer->loop().number() != other) continue;
    end->fail(ECONNRESET);
    peer->fail(ECONNRESET);
  }
}

void World::isolate_all() {
  isolated_ = true;
  for (const auto& loop : loops_) {
    while (!loop->listeners().empty()) loop->listeners().begin()->second->close();
    const auto ends = loop->ends();
    for (const auto& [made, end] : ends) end->shared_from_this()->fail(ECONNRESET);
    loop->revive();
    loop->set_frozen(false);
  }
}

}  // namespace comity::control::sim
