#include "transports/tcp/door.h"

#include <time.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "src/base/clock.h"
#include "src/base/log.h"

namespace comity::tcp {
namespace {

constexpr uint64_t kLongestMs = 60'000;
constexpr uint64_t kStrangersMs = 100;  // their deadlines are looked at so often
constexpr uint64_t kAgainMs = 100;      // after the system refused a descriptor

// Addresses of one interface have one number, in the order of the rails.
uint8_t number_of(const NetworkInterface& interface, const std::vector<NetworkInterface>& used,
                  const std::vector<RailAddress>& rails) {
  for (size_t i = 0; i < used.size(); ++i) {
    const bool loops = interface.loopback && used[i].loopback;  // 127.0.0.1 and 127.0.0.2 are two rails
    if (used[i].index == interface.index && !loops) return rails[i].interface;
  }
  return static_cast<uint8_t>(used.size());
}

}  // namespace

// A new IPv6 address cannot be bound until the kernel knows that it is unique, which takes about two seconds:
// that is waited for if there is no other.
Result<std::vector<NetworkInterface>> Door::listen(const std::vector<NetworkInterface>& interfaces,
                                                   const std::string& congestion,
                                                   std::vector<RailAddress>& rails) {
  const Deadline deadline = Deadline::after_ms(3'000);
  std::vector<NetworkInterface> used;
  Status last;
  do {
    for (const NetworkInterface& interface : interfaces) {
      if (rails.size() == kMaxRails) break;
      auto bound = acceptor_.listen(interface.address, congestion);
      if (!bound.ok()) {
        last = bound.status();
        COMITY_LOG_INFO("tcp: address {} of {} is left out: {}", interface.address.text(), interface.name,
                        last.message());
        continue;
      }
      rails.push_back({*bound, interface.prefix_bits, number_of(interface, used, rails)});
      used.push_back(interface);
    }
    const timespec pause{0, 50'000'000};
    if (rails.empty()) ::nanosleep(&pause, nullptr);
  } while (rails.empty() && !deadline.passed());
  if (rails.empty()) return last.in("tcp");
  return used;
}

void Door::open(Background* background, uint64_t look_every_ms) {
  background_ = background;
  look_every_ms_ = look_every_ms;
  if (look_every_ms > 0) next_look_ns_ = now_ns() + look_every_ms * 1'000'000u;
  if (background_ != nullptr) background_->begin(*this);
}

void Door::close() {
  if (background_ != nullptr) std::exchange(background_, nullptr)->end(*this);
}

void Door::advance() {
  std::vector<Acceptor::Accepted> proven;
  Status status = acceptor_.step(proven);
  const std::lock_guard lock(mutex_);
  const bool news = !proven.empty() || (!status.ok() && status_.ok());
  status_ = std::move(status);
  std::move(proven.begin(), proven.end(), std::back_inserter(arrived_));
  if (!news) return;
  attention_.store(true, std::memory_order_release);
  for (Sleeper* sleeper : sleepers_) sleeper->ring();
}

void Door::step() {
  if (background_ == nullptr) advance();
}

// Listeners that the system has no descriptor for would be ready without an end.
uint64_t Door::step(std::vector<pollfd>& wait_for) {
  advance();
  const uint64_t now = now_ns();
  uint64_t within_ms = acceptor_.has_strangers() ? kStrangersMs : kLongestMs;
  if (const uint64_t next = next_look_ns_.load(std::memory_order_relaxed); next <= now) {
    attention_.store(true, std::memory_order_release);
    within_ms = std::min(within_ms, look_every_ms_);
  } else if (next != UINT64_MAX) {
    within_ms = std::min(within_ms, (next - now) / 1'000'000u + 1);
  }
  if (!status().ok()) return std::min(within_ms, kAgainMs);
  acceptor_.wait_for(wait_for);
  return within_ms;
}

bool Door::take(std::vector<Acceptor::Accepted>& accepted) {
  const std::lock_guard lock(mutex_);
  if (arrived_.empty()) return false;
  std::move(arrived_.begin(), arrived_.end(), std::back_inserter(accepted));
  arrived_.clear();
  return true;
}

Status Door::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

bool Door::look_due(uint64_t now_ns) {
  if (now_ns < next_look_ns_.load(std::memory_order_relaxed)) return false;
  next_look_ns_.store(now_ns + look_every_ms_ * 1'000'000u, std::memory_order_relaxed);
  return true;
}

void Door::add(Sleeper& sleeper) {
  const std::lock_guard lock(mutex_);
  sleepers_.push_back(&sleeper);
}

void Door::remove(Sleeper& sleeper) {
  const std::lock_guard lock(mutex_);
  std::erase(sleepers_, &sleeper);
}

}  // namespace comity::tcp
