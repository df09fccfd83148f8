// Transport: moves bytes between two ranks. What an author of a transport implements.
//
// A Transport belongs to one rank of one communicator. It states what it can do in units, opens Endpoints,
// and knows how to sleep until something happens. An Endpoint is one connection on one interface: striping
// over several, retries and failover are the engine's. Everything here is called by the one thread that
// progresses the communicator at that moment (calls never overlap, but the thread may change between
// collectives), unless a method says otherwise.
//
// Data travels as segments. The engine owns numbering and flow control: it never has more than
// kSegmentsInFlight unacknowledged segments of one lane to a peer, so a receiver can always take what
// arrives, and a transport never has to refuse or to buffer beyond its own needs.
//
//   sender's engine                 transport                  receiver's engine
//     try_send(header, payload) ---> ... bytes ... ---> place(header) -> where the payload goes (streams)
//                                                  ---> arrived(header, payload)
//     transmitted() counts up   <---
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "comity/plugin/types.h"

namespace comity {

// Most segments of one lane to one peer that were sent and are not yet known to be done.
inline constexpr uint32_t kSegmentsInFlight = 8;

enum class SegmentKind : uint8_t {
  kData = 1,  // `length` payload bytes
  kDone = 2,  // no payload: `done` alone
};

// Little-endian on every wire, 48 bytes, before the payload.
struct SegmentHeader {
  SegmentKind kind = SegmentKind::kData;
  uint8_t flags = 0;  // kSegmentLast
  uint16_t lane = 0;
  uint32_t epoch = 0;         // of the path; counted up when it is fenced
  uint64_t number = 0;        // of this segment in its lane's stream to this peer, from 0
  uint64_t offset = 0;        // of its first byte in its message
  uint32_t length = 0;        // payload bytes, at most the endpoint's segment_bytes
  uint32_t communicator = 0;  // low half of the communicator's public id
  uint64_t signature = 0;     // of the collective this message belongs to
  uint64_t done = 0;          // contiguous prefix received of the opposite stream of the lane
};
static_assert(sizeof(SegmentHeader) == 48);
inline constexpr uint8_t kSegmentLast = 1;  // last of its message

// Where arriving segments go; implemented by the engine. Called from within Endpoint::progress().
class SegmentSink {
 public:
  virtual ~SegmentSink() = default;
  // Host memory for header.length > 0 payload bytes, valid until arrived() of that segment, or null if the
  // header is not acceptable (unknown lane, number outside the window, wrong length): the endpoint then fails
  // with kRemoteError.
  virtual std::byte* place(const SegmentHeader& header) = 0;
  // The payload lies at `payload`: what place() returned, or memory of the transport that is valid during
  // this call only (transports whose bytes are addressable skip place()). kDone segments come here with null.
  // False: as null above.
  virtual bool arrived(const SegmentHeader& header, const std::byte* payload) = 0;
};

struct EndpointTraits {
  uint32_t segment_bytes = 64 * 1024;              // longest payload of one segment; equal on both ends
  uint64_t latency_ns = 1000;                      // one way, small message; an estimate before calibration
  uint64_t bandwidth_bytes_per_s = 1'000'000'000;  // one way
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual const EndpointTraits& traits() const = 0;
  // Accepts a segment for transmission, or returns false: not now (still connecting, or the previous segment
  // is not out yet). Never blocks. On acceptance the header is copied; the payload must stay valid and
  // unchanged until transmitted() counts it. kDone segments have no payload.
  virtual bool try_send(const SegmentHeader& header, const std::byte* payload) = 0;
  // Number of accepted segments whose payload may be overwritten as far as this connection is concerned.
  // Monotone.
  virtual uint64_t transmitted() const = 0;
  // Pushes out what waits, takes in what arrived. Never blocks. True if anything moved.
  virtual bool progress(SegmentSink& sink) = 0;
  // True once the peer ended the connection in order: all that it sent here was delivered, and status() is an
  // error, since nothing follows.
  virtual bool ended() const { return false; }
  // Success until the connection failed; then the first error, for good, naming peer, address and cause. A
  // failed endpoint accepts nothing and delivers nothing.
  virtual const Status& status() const = 0;
  // "tcp eth0 10.0.0.1:4000 -> 10.0.0.2:53312", for people.
  virtual std::string describe() const = 0;
};

enum class Progress : uint8_t {
  kBusy,      // not finished, and waiting for others: poll again, less eagerly with time
  kAdvanced,  // not finished, but this poll did some of the work: poll again at once
  kDone,      // finished
  kMismatch,  // another member announced a different call: it will not finish
  kFailed,    // see error()
};

// Whether polling goes on.
inline bool is_unfinished(Progress progress) {
  return progress == Progress::kBusy || progress == Progress::kAdvanced;
}

// One member's run of memory in a group call.
struct Piece {
  std::byte* data = nullptr;
  uint64_t bytes = 0;
};

// A sub-collective as a provider sees it; shapes as at plan::Group. Piece i has equal length on all members.
struct GroupCall {
  Collective collective = Collective::kAllReduce;
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;
  uint32_t root = 0;       // index into the members
  uint32_t divisor = 0;    // avg: by what the accumulator is divided before rounding; 0: not
  uint64_t signature = 0;  // equal on all members of a healthy call
  std::span<const Piece> src;
  std::span<const Piece> dst;
};

// Whom a call waits for.
struct Awaited {
  std::vector<uint32_t> ranks;
  std::string_view what;  // static storage
};

// Carries out group calls whole among a fixed, ordered set of ranks whose memory it reaches. Calls are
// numbered by the order of start(), which is equal on all members. One call at a time.
class GroupProvider {
 public:
  virtual ~GroupProvider() = default;
  // Announces the call. `call` and its spans must stay valid until poll() returned something other than
  // kBusy. Never blocks.
  virtual void start(const GroupCall& call) = 0;
  // Advances. May spin for some hundred ns. After kMismatch or kFailed the provider is unusable.
  virtual Progress poll() = 0;
  virtual Status error() const = 0;
  // While a call waits: for which members, and for what ("to enter the call"). Never blocks; may allocate.
  virtual Awaited awaited() const { return {}; }
  // A number that changes when a member gets on, with this call or, by tell_progress(), with what keeps it
  // from it. Never blocks; a load per member at most.
  virtual uint64_t mark() const { return 0; }
  virtual void tell_progress() {}
};

// A descriptor of a peer's memory, on its way. One thread at a time.
class DescriptorFetch {
 public:
  virtual ~DescriptorFetch() = default;  // gives it up
  // The descriptor, which becomes the caller's, or -1: not yet. Never blocks; waits for a live owner without
  // an end. Not after it gave a descriptor or an error: kSystemError, kRemoteError, or the owner's.
  virtual Result<int> poll() = 0;
  // Blocks until poll() may get further, `limit_ms` at most. For set-up.
  virtual void wait(int limit_ms) const = 0;
  // Of the arenas said to be held, those that their owner gave back. Once poll() gave the descriptor.
  virtual std::vector<uint32_t> gone() const = 0;
};

// Gives the transport descriptors of peers' memory: the API implements it with the control plane.
class DescriptorSource {
 public:
  virtual ~DescriptorSource() = default;
  // Asks for that of an arena. `held`: arenas of the same process that are mapped here, to hear which of them
  // are gone. Never blocks.
  virtual std::unique_ptr<DescriptorFetch> fetch(std::string_view owner_socket_name, uint32_t arena,
                                                 std::span<const uint32_t> held) = 0;
};

// Takes over connections that are done, whose last bytes may still be on their way: the API implements it
// with the control plane.
class ConnectionKeeper {
 public:
  virtual ~ConnectionKeeper() = default;
  // Takes the connected, non-blocking stream socket: sends `unsent`, ends its direction, reads and discards
  // what comes, and closes it when nothing of what was sent can be lost any more. Never blocks.
  virtual void keep(int socket, std::span<const std::byte> unsent) = 0;
};

// What a transport is made with. Pointers stay valid as long as the transport.
struct TransportContext {
  uint32_t rank = 0;
  uint32_t nranks = 1;
  uint64_t communicator = 0;           // public id
  std::array<std::byte, 32> secret{};  // every socket proves it
  DescriptorSource* descriptors = nullptr;
  ConnectionKeeper* connections = nullptr;  // null: closing a connection waits for the peer, up to 2 s
  std::string descriptor_socket_name;       // of this process
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string_view name() const = 0;
  // What peers need to reach this rank; gathered by everyone before the first reach(). At most 4 KiB.
  virtual const std::vector<std::byte>& address() const = 0;
  // Looks at a peer's address, and prepares what can be prepared without it (mapping its memory; no
  // connection). May block some ms. kUnsupported: this transport does not join the two; any other error is a
  // failure to say so.
  virtual Status reach(uint32_t peer, std::span<const std::byte> address) = 0;
  // The endpoints to a reached peer, one per connection, connecting if they are new: they accept segments
  // once they are up. The same pointers at every call; owned by the transport. Both ranks call it for the
  // pair before they exchange anything.
  virtual Result<std::span<Endpoint* const>> endpoints(uint32_t peer) = 0;
  // Advances what belongs to no endpoint yet (accepting, handshakes). Never blocks; nearly free when idle. An
  // error is fatal to the transport.
  virtual Status progress() = 0;
  // A provider over these ranks (all reached, this one among them, ascending), or null: all members get one
  // or none does. Where this rank alone cannot have it (no room), progress() fails from then on, because the
  // others would wait for it. Owned by the transport; equal members give the same provider.
  virtual GroupProvider* group(std::span<const uint32_t> members) = 0;

  // Sleeping: arm() announces that this rank is about to sleep; the caller polls everything once more, then
  // calls sleep(), which returns when something may have happened or after `max_ns`, whichever is first, and
  // disarms. If that last poll found something the caller calls disarm() instead. wake() ends a sleep from
  // any other thread.
  virtual void arm() = 0;
  virtual void sleep(uint64_t max_ns) = 0;
  virtual void disarm() = 0;
  virtual void wake() = 0;
};

}  // namespace comity
