// An edge through shared memory: a ring of slots in the sender's board, one per ordered pair of ranks.
//
//   sender                                     receiver
//   slot n % kRingSlots free? (n - consumed)   slot n % kRingSlots has number n + 1?
//   header, payload, then number = n + 1  -->  arrived(header, pointer into the ring), then consumed = n + 1
//
// A payload up to kSlotInlineBytes lies in the slot's own two cache lines, a longer one in the slot's payload
// area. The sender copies it, so it may be overwritten at once; the receiver does not copy.
#pragma once

#include <string>

#include "comity/plugin/transport.h"
#include "transports/shm/board.h"

namespace comity::shm {

struct RingOptions {
  uint32_t rank = 0;
  uint32_t peer = 0;
  uint32_t peer_pid = 0;
  Board mine;
  Board theirs;
  const bool* sleepers = nullptr;  // whether the peer may be asleep for long: posts then fence
};

class RingEndpoint final : public Endpoint {
 public:
  // `out` is the index of the ring in one's own board. The peer may not have taken its ring yet: what is sent
  // waits.
  RingEndpoint(const RingOptions& options, int out);

  const EndpointTraits& traits() const override { return traits_; }
  bool try_send(const SegmentHeader& header, SourceMemory payload) override;
  uint64_t transmitted() const override { return sent_; }
  bool progress(SegmentSink& sink) override;
  const Status& status() const override { return status_; }
  std::string describe() const override;

 private:
  bool find_peer();
  bool deliver(RingSlot& slot, std::byte* payload, SegmentSink& sink);
  void fail(const std::string& what);

  RingOptions options_;
  EndpointTraits traits_;
  Status status_;
  RingControl* my_control_;
  RingArea* out_;
  RingControl* their_control_ = nullptr;  // null: the peer has no ring to this rank yet
  RingArea* in_ = nullptr;
  uint64_t sent_ = 0;
  uint64_t sent_consumed_ = 0;  // of sent_, as last seen
  uint64_t received_ = 0;
};

}  // namespace comity::shm
