// A queue pair with its completion queue and the memory through which short messages pass.
//
//   slots   the first kSends hold what is being sent and not inline, the others what is received
//   work    numbered; a completion of one tells that all before it are over, too. Short sends are signalled
//           now and then, puts each, as their sender waits
//
// It makes and connects, posts and polls, and knows no message. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comity/plugin/result.h"
#include "transports/verbs/device.h"
#include "transports/verbs/letters.h"

namespace comity::verbs {

// How a connection behaves; see the settings COMITY_VERBS_*.
struct QueueOptions {
  uint8_t timeout = 14;  // 4.096 us * 2^timeout until something is sent again
  uint8_t retries = 6;   // 7 would never end on some devices
  uint8_t service_level = 0;
  uint8_t traffic_class = 0;
  uint8_t mtu = 0;  // as ibv_mtu; 0: the port's
};

class Queue {
 public:
  static constexpr uint32_t kSends = 16;     // slots
  static constexpr uint32_t kReceives = 20;  // slots
  static constexpr uint32_t kSlotBytes = 8192 + 64;
  static constexpr uint32_t kWork = 128;  // most work requests under way

  // Ready to receive once connected: all receives are posted. kSystemError: names the limit.
  static Result<std::unique_ptr<Queue>> make(const Rail& rail, const QueueOptions& options);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // What its peer needs of it.
  QueueCard card() const { return card_; }
  // Connects to the peer's, on the rail of that address. kSystemError.
  Status connect(const QueueCard& peer, const RailAddress& peer_rail);
  // Nothing that the peer sends from now on is received, nor written to memory here. Idempotent.
  void stop();

  // Room for so many more work requests, and for a slot.
  bool has_room(uint32_t requests) const { return issued_ - over_ + requests <= kWork; }
  bool has_slot() const { return slots_used_ - slots_over_ < kSends; }
  bool is_inline(size_t bytes) const { return bytes <= inline_bytes_; }
  // The next slot to be filled; it is used by the send_slot() that follows.
  std::byte* slot() { return slot_at(slots_used_ % kSends); }
  // Each is one doorbell; false: the device refused, see error().
  bool send_inline(const std::byte* data, uint32_t bytes);
  bool send_slot(uint32_t bytes);
  // Puts `bytes` of registered memory there, then sends `header` behind it. Signalled.
  bool put(const std::byte* data, uint32_t local_key, uint32_t bytes, uint64_t address, uint32_t key,
           std::span<const std::byte> header);
  // Asks the peer's device for a sign of life. Signalled.
  bool probe();
  // Numbers of the last work request, and of the last one that is over.
  uint64_t issued() const { return issued_; }
  uint64_t over() const { return over_; }

  struct Completion {
    bool is_receive = false;
    const std::byte* data = nullptr;  // of a receive: what came, until repost()
    uint32_t bytes = 0;
    uint32_t slot = 0;
    std::string error;  // not empty: the pair is of no use any more
  };
  // The next completion. False: none is there.
  bool poll(Completion& completion);
  // What a receive brought was used.
  void repost(uint32_t slot);
  // The next completion after this tells the device's channel.
  void request_notice();
  int error() const { return error_; }

 private:
  Queue(const Rail& rail, const QueueOptions& options);
  Status create();
  Status begin();
  std::byte* slot_at(uint64_t index) { return memory_.get() + index * kSlotBytes; }
  bool post(ibv_send_wr& first);
  bool take_batch();
  int flags(bool always);

  static constexpr uint32_t kBatch = 16;
  static constexpr uint32_t kSignalEvery = 8;

  const Rail& rail_;
  const QueueOptions options_;
  const Library& library_;
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  ibv_mr* region_ = nullptr;
  ibv_cq* completions_ = nullptr;
  ibv_qp* pair_ = nullptr;
  QueueCard card_;
  uint32_t inline_bytes_ = 0;
  uint64_t issued_ = 0, over_ = 0;
  uint64_t slots_used_ = 0, slots_over_ = 0;
  std::array<uint64_t, kSends> work_of_slot_{};
  uint32_t unsignalled_ = 0;
  bool stopped_ = false;
  int error_ = 0;
  std::array<ibv_wc, kBatch> batch_;
  int batch_size_ = 0, batch_next_ = 0;
};

}  // namespace comity::verbs
