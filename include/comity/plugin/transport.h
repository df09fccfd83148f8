// Transport: moves bytes between two ranks. What an author of a transport implements.
//
// A Transport belongs to one rank of one communicator. It states what it can do in units, opens Endpoints,
// and knows what ends the sleep of a thread that waits for it. An Endpoint is one connection on one
// interface: striping over several, retries and failover are the engine's. Everything here is called by the
// one thread that progresses the communicator at that moment (calls never overlap, but the thread may change
// between collectives), unless a method says otherwise.
//
// Data travels as segments. The engine owns numbering and flow control: it never has more than
// kSegmentsInFlight unacknowledged segments of one lane to a peer, so a receiver can always take what
// arrives, and a transport never has to refuse or to buffer beyond its own needs.
//
//   sender's engine                 transport                  receiver's engine
//     try_send(header, payload) ---> ... bytes ... ---> place(header) -> where the payload goes (streams)
//                                               or ---> claim(header) -> the same, or "not yet" (rendezvous)
//                                                  ---> arrived(header, payload)
//     transmitted() counts up   <---
//
// Nothing in the middle copies a large message, by what the transport can do:
//
//   stream      the receiver's memory is asked for as a payload begins to come (place); it waits for nobody
//   rendezvous  a payload stays with its sender until its receive is posted (claim), and goes there
//   one-sided   the receiver says beforehand where a message may be put (SegmentKind::kReady), in the words
//               of its transport (Transport::expose); the sender puts it there (Endpoint::try_put), and then
//               says so. Messages below EndpointTraits::put_bytes are sent like any others
//
// Memory is handed over by reference: where it lies, whose it is, and what the transport made of it before
// (Registration). What a transport does not reach it is never given: the engine copies that to the host.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/memory.h"
#include "comity/plugin/result.h"
#include "comity/plugin/services.h"
#include "comity/plugin/types.h"

namespace comity {

// Most segments of one lane to one peer that were sent and are not yet known to be done.
inline constexpr uint32_t kSegmentsInFlight = 8;

enum class SegmentKind : uint8_t {
  kData = 1,  // `length` payload bytes
  kDone = 2,  // no payload: `done` alone
  kReady =
      3,  // the receiver's word on where a message may be put, which begins with segment `number`: ReadyBody
  kOffer = 4,  // no payload: the sender waits for such a word on its message that begins with `number`
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
  uint32_t communicator = 0;  // its index among those that share the connection
  uint64_t signature = 0;     // of the collective this message belongs to
  uint64_t done = 0;          // contiguous prefix received of the opposite stream of the lane
};
static_assert(sizeof(SegmentHeader) == 48);
inline constexpr uint8_t kSegmentLast = 1;  // last of its message
inline constexpr uint8_t kSegmentPut = 2;   // its bytes lie where its receiver said already

// The payload of kReady. Segment i of the message may be put at byte i * segment_bytes of `memory`; of a
// message that goes through slots, at (number % slots) * segment_bytes.
struct ReadyBody {
  uint64_t segments = 0;
  uint32_t slots = 0;  // 0: the message lies there whole
  uint32_t reserved = 0;
  RemoteMemory memory;
};
static_assert(sizeof(ReadyBody) == 64);

// An answer to SegmentSink::claim().
struct Claim {
  bool acceptable = true;  // false: as null of place()
  TargetMemory memory;     // where the payload goes; data null: not yet
};

// Where arriving segments go; implemented by the engine. Called from within Endpoint::progress().
class SegmentSink {
 public:
  virtual ~SegmentSink() = default;
  // Host memory for header.length > 0 payload bytes, valid until arrived() of that segment, or null if the
  // header is not acceptable (unknown lane, number outside the window, wrong length): the endpoint then fails
  // with kRemoteError.
  virtual std::byte* place(const SegmentHeader& header) = 0;
  // The same for a transport that can leave the payload with its sender: "not yet" while the receive that it
  // is for is not posted. It is asked again at each progress(); meanwhile other segments of the endpoint are
  // claimed and arrive, in any order.
  virtual Claim claim(const SegmentHeader& header) {
    Claim claim;
    claim.memory.data = place(header);
    claim.acceptable = claim.memory.data != nullptr;
    return claim;
  }
  // The payload lies at `payload`: what place() or claim() returned, or memory of the transport that is valid
  // during this call only (transports whose bytes are addressable skip both). Segments without payload, and
  // those with kSegmentPut, come here with null. False: as null above.
  virtual bool arrived(const SegmentHeader& header, const std::byte* payload) = 0;
};

struct EndpointTraits {
  uint32_t segment_bytes = 64 * 1024;              // longest payload of one segment; equal on both ends
  uint64_t latency_ns = 1000;                      // one way, small message; an estimate before calibration
  uint64_t bandwidth_bytes_per_s = 1'000'000'000;  // one way
  // Messages of at least so many bytes are put where their receiver says; 0: none. Equal on both ends, a
  // multiple of 64, at most segment_bytes.
  uint32_t put_bytes = 0;
  bool in_order = true;  // segments arrive in the order in which they were accepted
};

// What a path is like, one way.
struct PathFigures {
  uint64_t latency_ns = 0;
  uint64_t bandwidth_bytes_per_s = 0;
};

// A way out of this rank: an interface, a port of a device.
struct Rail {
  std::string name;     // "eth0", "mlx5_0:1"
  PathFigures figures;  // its own, as it reports them, whoever is at its other end; 0: it does not say
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual const EndpointTraits& traits() const = 0;
  // Accepts a segment for transmission (with put_bytes: one that is shorter than that), or returns false: not
  // now (still connecting, or the previous segment is not out yet). Never blocks. On acceptance the header is
  // copied; the payload must stay valid and unchanged until transmitted() counts it, but that of kReady,
  // which is copied. kDone and kOffer have none.
  virtual bool try_send(const SegmentHeader& header, SourceMemory payload) = 0;
  // The same for a segment of a message that the peer is ready for: `length` bytes of `payload`, which is
  // registered, are put at byte `offset` of `to`, and then the peer hears of the header, with kSegmentPut.
  // For endpoints with put_bytes.
  virtual bool try_put(const SegmentHeader& /*header*/, SourceMemory /*payload*/, const RemoteMemory& /*to*/,
                       uint64_t /*offset*/) {
    return false;
  }
  // Number of accepted segments whose payload may be overwritten as far as this connection is concerned.
  // Monotone.
  virtual uint64_t transmitted() const = 0;
  // Pushes out what waits, takes in what arrived. Never blocks. True if anything moved.
  virtual bool progress(SegmentSink& sink) = 0;
  // The memory that this communicator's segments come from and go to is about to be given back, in the middle
  // of them, while others go on using the connection: what is left of one that is being sent is copied, what
  // is still to come of one that place() or claim() gave memory for is thrown away and not told. May
  // allocate; does not block, but where hardware must be stopped that uses the memory, some ms: then the
  // endpoint fails if it cannot be stopped otherwise. For transports that copy at once there is nothing to
  // do.
  virtual void let_go(uint32_t communicator) { static_cast<void>(communicator); }
  // For endpoints with put_bytes: memory is given back that the peer may still put something into, or that a
  // put still reads. The endpoint fails for good, and neither goes on when this returns.
  virtual void stop() {}
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

// A sub-collective as a provider sees it; shapes as at plan::Group. Pieces that meet have equal lengths: of
// all_to_all member i's src[j] and member j's dst[i], of gather member i's src[0] and the root's dst[i], of
// scatter the root's src[i] and member i's dst[0], of the others piece i on all members.
//
// Of all_gather and reduce_scatter the pieces may differ from each other, as all members know; of all_to_all,
// gather and scatter they are equal. Where only the two members whose pieces meet are given a length, each by
// its own caller, the collective is all_to_all_v, gather_v or scatter_v, in the shapes of those that they
// vary: any lengths, none at all among them. Of lengths that differ the provider tells both ends, in rooted
// calls the taker.
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

// What one member gives another, and what that one takes, where their callers said different lengths.
struct DifferingLengths {
  uint32_t giver = 0, taker = 0;  // ranks
  uint64_t given_bytes = 0, taken_bytes = 0;
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
  // Most members among which it carries out all_to_all_v, gather_v and scatter_v, equal on all of them; 0: it
  // does not. In a gather_v or scatter_v who gives at most 8 KiB, tables of lengths included, waits for
  // nobody that is less than 64 such calls behind.
  virtual uint32_t most_varying() const { return 0; }
  // After kMismatch: the lengths that differ, if it is these.
  virtual std::optional<DifferingLengths> differing() const { return std::nullopt; }
  // While a call waits: for which members, and for what ("to enter the call"). Never blocks; may allocate.
  virtual Awaited awaited() const { return {}; }
  // A number that changes when a member gets on, with this call or, by tell_progress(), with what keeps it
  // from it. Never blocks; a load per member at most.
  virtual uint64_t mark() const { return 0; }
  virtual void tell_progress() {}
};

// What a transport is made with. Pointers stay valid as long as the transport.
struct TransportContext {
  uint32_t rank = 0;
  uint32_t nranks = 1;
  uint64_t communicator = 0;           // public id
  std::array<std::byte, 32> secret{};  // every socket proves it
  DescriptorSource* descriptors = nullptr;
  ConnectionKeeper* connections = nullptr;  // null: closing a connection waits for the peer, up to 2 s
  Background* background = nullptr;         // null: nothing goes on between calls
  Mail* mail = nullptr;                     // null: there is none; one of each transport's own
  std::string descriptor_socket_name;       // of this process
};

// How another thread or process ends a sleep by a word in memory that both see: whoever exchanges the word
// for 0 and finds that it was not 0 wakes the sleeper, by FUTEX_WAKE on the word (not the private kind) if
// `name` is 0, else by ring_bell() of src/base/berth.h.
struct Bell {
  uint64_t name = 0;
  uint64_t token = 0;
};

// A thread that is about to sleep until one of several things happens, as each transport that it waits for
// sees it: the engine's, given to arm(). Of the sleeping thread's but for ring(). Nothing here blocks.
class Sleeper {
 public:
  virtual ~Sleeper() = default;
  // The descriptor's readiness for these events, of poll(2), ends the sleep. The number by which reported()
  // tells of it, counted up from 0. May allocate.
  virtual uint32_t watch(int descriptor, short events) = 0;
  // After the sleep, before disarm() ends: the events that the descriptor of that number was ready for.
  virtual short reported(uint32_t number) const = 0;
  // Who has this word ends the sleep, in the way that is returned: the caller publishes it beside the word,
  // then stores 1 into the word. One word or any number of descriptors of one transport, not both.
  virtual Bell listen(std::atomic<uint32_t>& word) = 0;
  // The sleep lasts no longer: for what the transport must look at and nothing tells of.
  virtual void at_most(uint64_t ns) = 0;
  // Ends the sleep that is under way or about to begin. Any thread, between arm() and disarm().
  virtual void ring() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string_view name() const = 0;
  // What peers need to reach this rank; gathered by everyone before the first reach(). At most 4 KiB.
  virtual const std::vector<std::byte>& address() const = 0;
  // Looks at a peer's address, and prepares what can be prepared without it (mapping its memory; no
  // connection). May block some ms. kUnsupported: this transport does not join the two, which both find (but
  // where memory is shared); any other error is a failure to say so.
  virtual Status reach(uint32_t peer, std::span<const std::byte> address) = 0;
  // What joins this rank to a reached peer, before anything is measured; equal on both ends. Of several
  // transports that join a pair the one is used whose figures are best.
  virtual PathFigures figures(uint32_t /*peer*/) const { return {15'000, 2'000'000'000}; }
  // This rank's ways to other hosts, for the topology: until it is measured, the network is taken to be what
  // the slowest rank's best transport says here. None: the transport does not know.
  virtual std::vector<Rail> rails() const { return {}; }
  // The endpoints to a reached peer, one per connection, connecting if they are new: they accept segments
  // once they are up. The same pointers at every call; owned by the transport. Both ranks call it for the
  // pair before they exchange anything.
  virtual Result<std::span<Endpoint* const>> endpoints(uint32_t peer) = 0;
  // Advances what belongs to no endpoint yet (accepting, handshakes). Never blocks; nearly free when idle. An
  // error is fatal to the transport.
  virtual Status progress() = 0;
  // --- memory ---
  // Whether its endpoints take memory of this device as it is.
  virtual bool reaches(const Device& device) const { return device.host_addressable(); }
  // From how many bytes of a message on registered memory serves better than other; 0: registrations serve
  // nothing. At most EndpointTraits::put_bytes where that is not 0: such messages need them.
  virtual uint64_t registers_from() const { return 0; }
  // Registers `bytes` > 0 of this device's memory (null: memory that the CPU addresses) for all endpoints.
  // May block: pages are pinned. kSystemError names the limit; kUnsupported.
  virtual Result<std::unique_ptr<Registration>> register_memory(const Device* device, std::byte* data,
                                                                uint64_t bytes);
  // `memory`, which is registered, as peers may name it; for transports with put_bytes. Never blocks.
  virtual RemoteMemory expose(const TargetMemory& /*memory*/) const { return {}; }

  // A provider over these ranks (all reached, this one among them, ascending), or null: all members get one
  // or none does. Where this rank alone cannot have it (no room), progress() fails from then on, because the
  // others would wait for it. Owned by the transport; equal members give the same provider.
  virtual GroupProvider* group(std::span<const uint32_t> members) = 0;

  // Sleeping. One thread sleeps on all transports of all communicators that it waits for:
  //
  //   arm() of each  ->  poll everything once more  ->  found nothing? sleep  ->  disarm() of each
  //
  // From arm() on, whatever makes a poll find something ends the sleep, however early it comes: that last
  // poll sees what was there before, and the sleeper hears of what comes after it. disarm() always follows,
  // after the sleep where there was one, since it may ask the sleeper what was reported; never before it.
  // Where communicators share the transport several threads may be armed at once, and one more than once
  // (disarmed as often); both methods are then called under the family's lock, and others progress endpoints
  // during the sleep. What such a thread does that adds to what the sleepers should watch (a new connection)
  // is for the transport to ring them for. Neither blocks.
  virtual void arm(Sleeper& sleeper) = 0;
  virtual void disarm(Sleeper& sleeper) = 0;
};

inline Result<std::unique_ptr<Registration>> Transport::register_memory(const Device*, std::byte*, uint64_t) {
  return Status(Code::kUnsupported, std::string(name()) + " registers no memory");
}

}  // namespace comity
