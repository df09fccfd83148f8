#include "transports/shm/doorbell.h"

#include "src/base/berth.h"
#include "src/base/futex.h"

namespace comity::shm {

void wake(Doorbell& bell) {
  const Bell how{bell.name.load(std::memory_order_relaxed), bell.token.load(std::memory_order_relaxed)};
  if (how.name == 0) return futex_wake(bell.sleeping);
  if (!ring_bell(how)) bell.unheard.store(1, std::memory_order_relaxed);
}

void arm(Doorbell& bell, Sleeper& sleeper) {
  const Bell how = sleeper.listen(bell.sleeping);
  if (how.name != 0 && bell.unheard.load(std::memory_order_relaxed) != 0) sleeper.at_most(kNapNs);
  bell.name.store(how.name, std::memory_order_relaxed);
  bell.token.store(how.token, std::memory_order_relaxed);
  bell.sleeping.store(1, std::memory_order_release);
  full_fence();
}

}  // namespace comity::shm
