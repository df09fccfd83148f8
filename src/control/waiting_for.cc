#include "src/control/waiting_for.h"

#include <utility>

namespace comity::control {

void WaitingFor::in_collective(uint64_t number, std::vector<PairCount> pairs) {
  set(Now{0, true, number, {}, std::move(pairs)});
}

void WaitingFor::in_exchanges(std::vector<Exchange> incomplete, std::vector<PairCount> pairs) {
  set(Now{0, true, 0, std::move(incomplete), std::move(pairs)});
}

void WaitingFor::over() {
  set(Now{});
}

// Told again unchanged, as a call does every 100 ms, it keeps its stamp.
void WaitingFor::set(Now now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  now.stamp = now_.stamp;
  if (now == now_) return;
  ++now.stamp;
  now_ = std::move(now);
}

WaitingFor::Now WaitingFor::look() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return now_;
}

}  // namespace comity::control
