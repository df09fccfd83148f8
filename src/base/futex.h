// Futex calls on words in memory that processes may share; never the private kind, which others do not see.
#pragma once

#include <atomic>
#include <cstdint>

namespace comity {

// Returns when woken, when the word is not `expected` any more, after max_ns, or on a signal. False: after
// max_ns.
bool futex_wait(std::atomic<uint32_t>& word, uint32_t expected, uint64_t max_ns);
// Wakes all who wait.
void futex_wake(std::atomic<uint32_t>& word);

}  // namespace comity
