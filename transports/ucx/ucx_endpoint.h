// What goes between this rank and one peer over UCX.
//
//   sending    a slot for each segment under way: the header, which UCX may read until it is done with it
//   receiving  UCX calls with what came for any peer while one endpoint progresses; what is another's, or
//              waits for its place, is kept in the inbox of its own
//
// A long message comes as the promise of one (UCX's rendezvous): it is claimed at the engine, and fetched
// then.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/transport.h"
#include "src/base/clock.h"
#include "transports/ucx/library.h"
#include "transports/ucx/silence.h"

namespace comity::ucx {

using Token = std::array<std::byte, 16>;

// What goes before a payload.
struct WireHeader {
  SegmentHeader segment;
  uint32_t from = 0;  // rank
  uint32_t reserved = 0;
  Token token{};  // of this pair and direction
};
static_assert(sizeof(WireHeader) == 72);
// Beside the kinds of segments: this rank sends nothing any more; `number` segments it did.
inline constexpr auto kFarewell = static_cast<SegmentKind>(0x7f);

// What endpoints of one rank share.
struct Worker {
  const Library* library = nullptr;
  ucp_context_h context = nullptr;
  ucp_worker_h worker = nullptr;
};

// A run of memory that UCX has mapped.
class UcxRegistration final : public Registration {
 public:
  UcxRegistration(const Worker& worker, ucp_mem_h memory) : worker_(worker), memory_(memory) {}
  ~UcxRegistration() override { worker_.library->mem_unmap(worker_.context, memory_); }
  ucp_mem_h memory() const { return memory_; }

 private:
  const Worker& worker_;
  ucp_mem_h memory_;
};

struct EndpointConfig {
  uint32_t rank = 0, peer = 0;
  PathFigures figures;
  std::vector<std::byte> worker_address;
  Token outgoing{}, incoming{};
};

class UcxEndpoint final : public Endpoint {
 public:
  UcxEndpoint(const Worker& worker, EndpointConfig config);
  ~UcxEndpoint() override = default;
  UcxEndpoint(const UcxEndpoint&) = delete;
  UcxEndpoint& operator=(const UcxEndpoint&) = delete;

  // Where the peer is; before connect().
  void use_address(std::vector<std::byte> worker_address) {
    config_.worker_address = std::move(worker_address);
  }
  // Begins to connect, once.
  void connect();
  // Ends the connection, as hard as needed: begins to; whether it is done; gives back what is left. The last
  // before the worker goes, which goes before this.
  void begin_close();
  bool is_closed() const;
  void release();

  const EndpointTraits& traits() const override { return traits_; }
  bool try_send(const SegmentHeader& header, SourceMemory payload) override;
  uint64_t transmitted() const override { return transmitted_; }
  bool progress(SegmentSink& sink) override;
  void let_go(uint32_t communicator) override;
  const Status& status() const override { return status_; }
  bool ended() const override { return came_ == last_; }
  std::string describe() const override;

  // From UCX's callback: a message of the peer's. Takes it, or holds it (UCS_INPROGRESS).
  ucs_status_t came(const WireHeader& header, void* data, size_t length, uint64_t attributes);
  // Says farewell, once, as soon as there is room; nothing is sent afterwards.
  void say_farewell();
  // Nothing of what was sent is under way, and the peer has said farewell, too, or is gone.
  bool parted() const {
    return ep_ == nullptr || !status_.ok() || !lost_.empty() ||
           (farewell_ && ended() && transmitted_ == accepted_);
  }
  bool is_token(const Token& token) const;
  // While a call waits. True: the peer is to be told of account(); never unless it may.
  bool look_at_silence(uint64_t now_ns, bool may_tell);
  Account account() const { return {accepted_, came_}; }
  void told(const Account& peer) { silence_.told(peer); }
  void fail(Code code, const std::string& cause);

 private:
  static constexpr size_t kSlots = 64;
  struct Slot {
    UcxEndpoint* endpoint = nullptr;
    WireHeader header;
    void* request = nullptr;  // UCX's, while it is not done
    bool done = false;
  };
  // Something that came.
  struct Arrival {
    enum class Kind : uint8_t { kCopied, kHeld, kPromised, kFetching, kFetched, kLost };
    UcxEndpoint* endpoint = nullptr;
    Kind kind = Kind::kCopied;
    SegmentHeader header;
    std::vector<std::byte> copy;
    void* data = nullptr;        // UCX's: of kHeld the bytes, of kPromised what stands for them
    std::byte* place = nullptr;  // where it is fetched to
    void* request = nullptr;
    // Its bytes are in this process.
    bool is_here() const { return kind == Kind::kCopied || kind == Kind::kHeld || kind == Kind::kFetched; }
  };

  static void on_sent(void* request, ucs_status_t status, void* user_data);
  static void on_fetched(void* request, ucs_status_t status, size_t length, void* user_data);
  static void on_failed(void* arg, ucp_ep_h ep, ucs_status_t status);
  void lose(const std::string& cause);
  bool send(const WireHeader& header, SourceMemory payload);
  void finish(Slot& slot, ucs_status_t status);
  bool drain(SegmentSink& sink);
  bool drain_one(SegmentSink& sink, Arrival& arrival, bool& moved);
  bool fetch(SegmentSink& sink, Arrival& arrival);
  bool deliver(SegmentSink& sink, const SegmentHeader& header, const std::byte* payload);
  void forget(Arrival& arrival);
  bool uses_memory_of(uint32_t communicator) const;
  void close();

  const Worker& worker_;
  EndpointConfig config_;
  EndpointTraits traits_;
  ucp_ep_h ep_ = nullptr;
  Status status_;
  std::string lost_;         // why UCX gave the connection up; empty: it did not
  void* closing_ = nullptr;  // UCX's
  bool farewell_ = false;

  std::array<Slot, kSlots> slots_{};
  uint64_t accepted_ = 0, transmitted_ = 0;

  SegmentSink* sink_ = nullptr;  // while it progresses
  uint64_t came_ = 0;            // segments
  uint64_t fetched_ = 0;
  Silence silence_;
  uint64_t last_ = UINT64_MAX;  // that the peer sent in all, once it said farewell
  std::list<Arrival> inbox_;
};

}  // namespace comity::ucx
