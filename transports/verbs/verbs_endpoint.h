// What goes between this rank and one peer over one queue pair.
//
//   short   copied beside its header into a slot, or inline: sent into a receive that the peer posted before.
//           There are kCredits of them; who takes one gives it back with its next message, or, if many are
//           due, with one of its own
//   long    put into memory that the peer named, its header sent behind it with the same doorbell: what the
//           device does in this order the peer sees in this order
//
// Who only receives never hears of a sender's failure: in a long silence the peer's device is asked for a
// sign, which it gives also while its process computes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "comity/plugin/transport.h"
#include "transports/verbs/queue.h"

namespace comity::verbs {

// A run of memory that all devices of a transport have registered.
class VerbsRegistration final : public Registration {
 public:
  VerbsRegistration(const Library& library, std::byte* data) : library_(library), data_(data) {}
  ~VerbsRegistration() override;
  void add(ibv_mr* region) { regions_.at(count_++) = region; }
  const std::byte* data() const { return data_; }
  // By device, as the transport numbers them.
  const ibv_mr& region(size_t device) const { return *regions_[device]; }
  size_t count() const { return count_; }

 private:
  const Library& library_;
  std::byte* data_;
  std::array<ibv_mr*, kMaxRails> regions_{};
  size_t count_ = 0;
};

// How a rank names memory to others.
struct ExposedMemory {
  uint64_t address = 0;
  std::array<uint32_t, kMaxRails> keys{};  // by device there
};
static_assert(sizeof(ExposedMemory) <= sizeof(RemoteMemory::words));

struct EndpointConfig {
  uint32_t rank = 0, peer = 0;
  uint32_t device = 0;       // this rank's number of the rail's device
  uint32_t peer_device = 0;  // and the peer's
  RailAddress peer_rail;
  EndpointTraits traits;
  std::string rail;  // for people
  uint8_t port = 1;
};

// What goes before a payload.
struct WireHeader {
  SegmentHeader segment;
  uint32_t credits = 0;  // given back
  uint32_t reserved[3] = {};
};
static_assert(sizeof(WireHeader) == 64);

class VerbsEndpoint final : public Endpoint {
 public:
  static constexpr uint32_t kPutBytes = 8192;
  static constexpr uint32_t kSegmentBytes = 512 * 1024;

  VerbsEndpoint(EndpointConfig config, std::unique_ptr<Queue> queue);
  ~VerbsEndpoint() override = default;

  QueueCard card() const { return queue_->card(); }
  // Connects to the peer's queue pair; what it sends is received from then on.
  void connect(const QueueCard& peer);
  // Leaving: says so to the peer; whether its device has all that was sent, or there is no way to it. What
  // comes meanwhile is thrown away.
  void say_farewell();
  bool has_left();
  // The peer's queue pair receives.
  void set_up() { up_ = true; }

  const EndpointTraits& traits() const override { return config_.traits; }
  bool try_send(const SegmentHeader& header, SourceMemory payload) override;
  bool try_put(const SegmentHeader& header, SourceMemory payload, const RemoteMemory& to,
               uint64_t offset) override;
  uint64_t transmitted() const override { return transmitted_; }
  bool progress(SegmentSink& sink) override;
  void stop() override;
  const Status& status() const override { return status_; }
  bool ended() const override { return ended_; }
  std::string describe() const override;

  // Of the rail: everything on it has failed.
  bool is_on(uint32_t device, uint8_t port) const {
    return config_.device == device && (port == 0 || port == config_.port);
  }
  void fail(Code code, const std::string& cause);
  void request_notice() { queue_->request_notice(); }
  bool connected() const { return connected_; }

 private:
  static constexpr uint32_t kCredits = 16;
  static constexpr uint32_t kAccepted = 64;  // segments whose memory is still used, at most
  static_assert(kCredits + 4 == Queue::kReceives, "a few receives are for messages that give credits back");

  bool send(WireHeader& header, const std::byte* payload);
  void send_credits();
  void note_accepted(uint64_t work);
  void advance_transmitted();
  bool take(SegmentSink& sink, const Queue::Completion& completion);
  bool deliver(SegmentSink& sink, const Queue::Completion& completion);
  void look_at_silence(bool moved);
  void fail_refused();

  EndpointConfig config_;
  std::unique_ptr<Queue> queue_;
  Status status_;
  bool connected_ = false, up_ = false, ended_ = false;
  uint32_t credits_ = kCredits, due_ = 0;
  uint64_t accepted_ = 0, transmitted_ = 0;
  std::array<uint64_t, kAccepted> work_of_{};  // by segment: when its memory is free
  uint32_t quiet_polls_ = 0;
  uint64_t heard_at_ns_ = 0;
  bool probing_ = false;
};

}  // namespace comity::verbs
