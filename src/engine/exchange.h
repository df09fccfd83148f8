// Exchange: carries out the Sends and Recvs of one group together, as a pollable state machine.
//
//   each peer's sends, in order ----> the link's own lane ----> the peer's receives, in order
//   each peer's receives, in order <---- ...
//   to oneself: the n-th send is copied to where the n-th receive says
//
// Every stream, that is one direction with one peer, gets on by itself, so that no order of Sends and Recvs
// on the ranks can make them wait for each other. The n-th message to a peer matches the peer's n-th receive.
// A message's signature is its type and its bytes: where it is not what the receiver expects, the first
// segment says so, and the receiver can name both. A send is complete when its bytes were handed to the
// connection: what fits into the window of kSegmentsInFlight segments waits for nobody. Memory that the CPU
// cannot address passes through bounce memory, a part at a time.
//
// One thread at a time. Allocates where an exchange is larger than those before, or speaks to a new peer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "src/control/waiting_for.h"
#include "src/device/registry.h"
#include "src/engine/call.h"
#include "src/engine/link.h"
#include "src/engine/mapping.h"

namespace comity::engine {

// Type and bytes of a message as its receiver compares them; and back, in words: "12 float32".
uint64_t message_signature(DataType type, uint64_t bytes);
std::string describe_message(uint64_t signature);

// Gives links with their exchange's lane open.
class ExchangeContext {
 public:
  virtual ~ExchangeContext() = default;
  virtual Result<Link*> exchange_link_to(uint32_t peer) = 0;
};

class Exchange final : public CompletionSink {
 public:
  Exchange(uint32_t rank, uint32_t nranks, DeviceRegistry& devices);

  // Whether `messages` can be carried out. Sends and Recvs to oneself must match: kInvalidUsage. Nothing was
  // sent.
  Status check(std::span<const PointToPoint> messages) const;
  // Starts what check() found right. `messages` must stay until poll() returned something else than kBusy and
  // kAdvanced. An error: of a connection, or no memory.
  Status begin(std::span<const PointToPoint> messages, ExchangeContext& context);
  // Advances; never blocks. kFailed: error(), also where a peer's message is another than its receive.
  Progress poll();
  const Status& error() const { return error_; }
  // Gives up: posted receives deliver nothing any more. The links are unusable afterwards.
  void abandon();
  // The messages that are not complete, by their numbers in their pair. `before`: by rank, how many were made
  // before this exchange. Allocates.
  std::vector<control::WaitingFor::Exchange> incomplete(std::span<const PairCounts> before) const;
  // Whom it waits for, in words: "rank 3 to send". Allocates.
  std::string awaited() const;
  // Copies that it gave to a device are not done.
  bool awaits_device() const { return !self_.empty() || copying_ > 0; }
  void completed(uint32_t tag) override;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint64_t kPartSegments = 4;  // of a message that passes through bounce memory

  enum class Part : uint8_t { kNone, kCopying, kPosted };

  // One direction with one peer.
  struct Stream {
    uint32_t tag = 0;
    Link* link = nullptr;
    uint32_t next = kNone;     // message to post
    uint32_t last = kNone;     // message of the stream
    uint32_t whole = 0;        // messages that were posted whole and are not complete
    Device* device = nullptr;  // of `next`, where it passes through bounce memory
    Part part = Part::kNone;   // which part of it is under way, and where
    uint64_t part_offset = 0, part_bytes = 0;
    Token token = 0;
    Mapping bounce;
    bool sends() const { return (tag & 1u) != 0; }
    uint32_t peer() const { return tag >> 1; }
  };
  // From one device to another it goes through memory of the host.
  struct SelfCopy {
    Device* device = nullptr;
    Token token = 0;
    Device* then = nullptr;  // copies `bounce` to `to`
    void* to = nullptr;
    Mapping bounce = {};
  };

  Result<Stream*> stream_of(const PointToPoint& message, ExchangeContext& context);
  Status check_self(const PointToPoint& send, const PointToPoint& recv) const;
  Status copy_to_self();
  bool poll_self();
  bool advance(Stream& stream);
  void post(Stream& stream, const PointToPoint& message, std::byte* memory, uint64_t bytes);
  bool advance_part(Stream& stream, const PointToPoint& message);
  bool begin_part(Stream& stream, const PointToPoint& message);
  void move_part(Stream& stream, std::byte* to, const std::byte* from);
  void end_part(Stream& stream);
  static uint32_t queue_of(const Stream& stream);
  Progress outcome(bool advanced);

  uint32_t rank_;
  DeviceRegistry& devices_;
  std::span<const PointToPoint> messages_;
  std::vector<uint32_t> following_;               // by message: the next of its stream
  std::vector<std::unique_ptr<Stream>> streams_;  // by 2 * peer + sends; kept
  std::vector<Stream*> active_;
  std::vector<Link*> links_;  // of the active ones, each once
  std::vector<SelfCopy> self_;
  size_t unfinished_ = 0;  // messages, but those to oneself
  size_t copying_ = 0;     // streams whose part a device copies
  Status error_;
};

}  // namespace comity::engine
