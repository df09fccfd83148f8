// Letters from rank to rank over the control tree: a transport's connections begin with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>

#include "comity/plugin/transport.h"
#include "src/base/bytes.h"

namespace comity::control {

// A letter as it travels.
struct Letter {
  uint32_t from = 0, to = 0;  // ranks of the family
  uint8_t box = 0;            // whose it is there: each transport has one
  Bytes content;
};
Bytes encode(const Letter& letter);
// Nothing where it is malformed, or a rank is none of `nranks`.
std::optional<Letter> decode_letter(std::span<const std::byte> bytes, uint32_t nranks);

// Where letters of one rank arrive: a box of each number. Any thread.
class Letterboxes {
 public:
  void open(uint8_t box, MailReceiver& receiver);
  void close(uint8_t box);
  void deliver(Letter letter);

 private:
  // What nobody takes is bounded: peers are authenticated, but may be wrong.
  static constexpr size_t kMostWaiting = 65'536;
  std::mutex mutex_;
  std::map<uint8_t, MailReceiver*> receivers_;
  std::deque<Letter> waiting_;
};

}  // namespace comity::control
