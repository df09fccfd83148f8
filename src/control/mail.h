// Letters from rank to rank over the control tree: a transport's connections begin with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "comity/plugin/transport.h"
#include "src/base/bytes.h"

namespace comity::control {

// A letter as it travels.
struct Letter {
  uint32_t from = 0, to = 0;  // ranks of the family
  Bytes content;
};
Bytes encode(const Letter& letter);
// Nothing where it is malformed, or a rank is none of `nranks`.
std::optional<Letter> decode_letter(std::span<const std::byte> bytes, uint32_t nranks);

// Where letters of one rank arrive. Any thread.
class Letterbox {
 public:
  void open(MailReceiver& receiver);
  void close();
  void deliver(uint32_t from, Bytes content);

 private:
  // What nobody takes is bounded: peers are authenticated, but may be wrong.
  static constexpr size_t kMostWaiting = 65'536;
  std::mutex mutex_;
  MailReceiver* receiver_ = nullptr;
  std::deque<std::pair<uint32_t, Bytes>> waiting_;
};

}  // namespace comity::control
