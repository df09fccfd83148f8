// A network inside one thread: seeded, in virtual time, for hundreds of ranks.
//
//   sim::Network network(seed, nranks, options);
//   auto transport = network.make_transport(rank);         // one per rank
//   while (!all finished) {
//     bool moved = false;
//     for (each rank) moved |= poll(rank);                  // at the present virtual time
//     if (!moved && !network.advance()) report a deadlock;  // else: time moved to the next event
//   }
//
// A segment occupies its link direction for (header + payload) / bandwidth; when that is over it is copied
// out of the sender's memory (the last moment that the contract allows, so that early overwriting shows) and
// transmitted() counts it. It arrives latency + jitter later, in order per endpoint, in any order between
// endpoints. By seed, try_send() refuses now and then, place() and arrived() lie apart in time, and payloads
// come through place() or in the transport's own memory. The same seed and the same calls replay exactly:
// trace_hash() says so.
//
// Nothing here blocks, sleeps or starts a thread; a Network and all its transports belong to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "comity/plugin/transport.h"
#include "src/base/clock.h"

namespace comity::sim {

// One direction of one link.
struct LinkModel {
  uint64_t latency_ns = 1000;
  uint64_t bandwidth_bytes_per_s = 10'000'000'000;  // at least 1
  uint64_t jitter_ns = 300;                         // each arrival is late by 0..jitter_ns, uniformly
};

// How payloads reach the receiver's engine.
enum class Delivery : uint8_t {
  kMixed,   // by seed, per segment, one of the following
  kPlaced,  // place(), copy, arrived() with that memory; sometimes apart in time, as a stream's partial read
  kDirect,  // arrived() alone, with memory of the transport
  // claim(): what is longer than kSimEagerBytes stays with its sender until there is a place for it, and is
  // passed by what comes after it.
  kClaimed,
};
inline constexpr uint32_t kSimEagerBytes = 256;

struct NetworkOptions {
  LinkModel link;
  // The link from `from` to `to` on `rail`, asked once per direction; empty: `link` everywhere.
  std::function<LinkModel(uint32_t from, uint32_t to, uint32_t rail)> link_of;
  uint32_t rails = 1;             // endpoints per pair of ranks, at least 1
  uint32_t segment_bytes = 4096;  // small, so that small messages are segmented
  uint32_t stall_percent = 10;    // chance that an idle endpoint refuses a segment, 0..100
  uint64_t stall_ns = 2000;       // longest time for which it goes on refusing
  uint32_t split_percent = 25;    // chance that a placed payload completes later than it was placed, 0..100
  Delivery delivery = Delivery::kMixed;
  // Messages of at least so many bytes are put where their receiver says, into memory that is registered
  // there when they arrive; else the connection fails, as hardware does it. 0: none.
  uint32_t put_bytes = 0;
  uint32_t stream_rails = 0;  // the last so many of the rails put nothing, as if of another transport
};

class Network {
 public:
  Network(uint64_t seed, uint32_t nranks, NetworkOptions options = {});
  // Transports that are still alive must not be called afterwards, except to be destroyed.
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // The transport of `rank` < nranks, once per rank. Destroying it closes its connections: peers receive what
  // was sent, then their endpoints fail. It ends every sleep at once: in virtual time only advance() lets
  // time pass.
  std::unique_ptr<Transport> make_transport(uint32_t rank);

  // Virtual time, from 0. Valid as long as the network.
  const Clock& clock() const;
  // Moves virtual time to the next event and carries out all events of that time. False, and nothing changes,
  // if there is none: if no rank moved since, none ever will.
  bool advance();
  // Hash over every event so far: time, endpoint, header. Equal for equal runs.
  uint64_t trace_hash() const;
  // Events carried out so far.
  uint64_t event_count() const;
  // Memory that is registered at present, and how often any was.
  uint64_t registered() const;
  uint64_t registrations_made() const;

  // The `segment`-th segment (from 0) that `from` sends to `to` on `rail` is lost and breaks the connection:
  // `from`'s end fails when the segment would have left, `to`'s one latency later, and what has not arrived
  // by then is lost too. To be called before it is sent.
  void fail_at(uint32_t from, uint32_t to, uint32_t rail, uint64_t segment);
  // The rank dies now: what it has in flight is lost, and every endpoint of it or to it fails.
  void fail_rank(uint32_t rank);

  class Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace comity::sim
