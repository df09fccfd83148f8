// Messages of links whose endpoints are of different transports (JoinedTransports).
//
// A message of one segment goes over the transport with the least latency. Of a longer one each segment goes
// to the next endpoint that takes it and has no more on its way than one that moves and one behind it, or,
// where another one has taken over twice as many, just the one: a fast one is free sooner, and so carries
// more, and a slow one does not keep the window waiting. Segments of the same message may be put by one
// endpoint, once the receiver is ready, and sent by another. What is said between the two links goes over
// those that put, where there are any: streams know nothing of it.
#include "src/engine/link.h"

namespace comity::engine {
bool Link::stripe_over(Lane& lane, Send& send, SegmentHeader& header) {
  const Ready* ready = send.put ? ready_for(lane, header.number) : nullptr;
  if (ready != nullptr && (ready->signature != send.signature || send.registration == nullptr))
    ready = nullptr;
  const bool alone = send.segments == 1;
  const size_t choices = alone ? connections_.alike() : endpoints_.size();
  const SourceMemory source(send.source + send.next * segment_bytes_, send.registration);
  for (size_t i = 0; i < choices; ++i) {
    const size_t at = (header.number + i) % choices;
    if (!alone && connections_.is_occupied(at)) continue;
    const bool puts = send.put && connections_.puts(at);
    if (puts && ready == nullptr) continue;
    const bool taken =
        puts ? put_segment(at, *ready, send, header, source) : endpoints_[at]->try_send(header, source);
    if (taken) return accepted(at, lane, header, send);
  }
  return send.put && ready == nullptr && send.next == 0 && offer(lane, header);
}

}  // namespace comity::engine
