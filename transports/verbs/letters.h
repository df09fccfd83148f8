// What two ranks tell each other so that their queue pairs connect, sealed: over the control plane nobody on
// the way reads numbers of queue pairs, nor writes others.
//
//   either rank   card: its queue pairs, and where their sequence numbers begin   ---->
//   both          connect theirs to those of the other's card
//   each then     up: what comes is received from now on                          ---->  may send
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "src/base/handshake.h"

namespace comity::verbs {

struct QueueCard {
  uint32_t number = 0;    // of the queue pair
  uint32_t sequence = 0;  // 24 bits, random
};

struct LetterContent {
  enum class Kind : uint8_t { kCard = 1, kUp = 2 };
  Kind kind = Kind::kCard;
  uint32_t from = 0, to = 0;  // ranks
  uint32_t epoch = 0;
  std::vector<QueueCard> queues;  // kCard: by endpoint
};

// Of the secret of a family.
Secret letter_key(const Secret& secret, uint64_t communicator);
std::vector<std::byte> seal(const LetterContent& letter, const Secret& key);
// Nothing: it was not sealed with this key, or is malformed.
std::optional<LetterContent> unseal(std::span<const std::byte> bytes, const Secret& key);

}  // namespace comity::verbs
