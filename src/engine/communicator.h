// Communicator: one rank's side of a set of ranks: its links, bindings and the call in flight.
//
// start() announces a call and poll() advances it; a Driver does both, and looks at all that may end a call
// early: abort, verdict, deadline. Calls execute one at a time, in order. One thread at a time; abort() may
// come from any thread. After an error the communicator is unusable: every later call returns that error. A
// call whose binding is still kept (binding_cache.h) allocates nothing, takes no lock, logs nothing.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/base/berth.h"
#include "src/control/call_log.h"
#include "src/control/waiting_for.h"
#include "src/device/registry.h"
#include "src/engine/binding.h"
#include "src/engine/binding_cache.h"
#include "src/engine/call.h"
#include "src/engine/exchange.h"
#include "src/engine/executor.h"
#include "src/engine/family.h"
#include "src/engine/plan_source.h"
#include "src/engine/prologue.h"
#include "src/engine/registrations.h"

namespace comity::engine {

// The control plane as the engine sees it. Any thread; neither blocks.
class Oversight {
 public:
  virtual ~Oversight() = default;
  // Success until the ranks were given a verdict; then that error.
  virtual bool condemned() const = 0;
  virtual Status verdict() const = 0;
  // This rank has waited long, or saw another signature, in call `number`.
  virtual void report(uint64_t number) = 0;
  // This rank has waited long for what follows: a ring of ranks that wait for one another shall be found. The
  // parameters are those of control::WaitingFor; collective 0: in an exchange.
  virtual void report_waiting(uint64_t /*collective*/,
                              std::vector<control::WaitingFor::Exchange> /*incomplete*/,
                              std::vector<control::PairCount> /*pairs*/) {}
  // The call that was reported as waiting has ended.
  virtual void waiting_over() {}
  // This rank failed: the others will not get what they wait for, and must hear of it.
  virtual void declare(const Status& status) = 0;
};

struct CommunicatorOptions {
  uint32_t rank = 0;
  uint32_t nranks = 1;
  std::vector<Transport*> transports;      // outlive the communicator
  std::vector<uint8_t> transport_of_peer;  // index into transports, by rank (own entry unused)
  PlanSource* plans = nullptr;
  DeviceRegistry* devices = nullptr;
  control::CallLog* calls = nullptr;  // may be null (simulation)
  Oversight* oversight = nullptr;     // may be null (simulation): a mismatch is then an error at once
  bool oversubscribed = false;        // more ranks on this host than cores
  uint64_t timeout_ns = 0;            // 0: wait for a live peer for ever
  ReleaseRule release = ReleaseRule::kTransmitted;
  // Whose connections it uses where `family_transports` has the transport's bit; may be null if none has.
  // Outlives the communicator. Its index there is equal on all members.
  Family* family = nullptr;
  uint32_t index = 0;
  uint32_t family_transports = 0;
  std::vector<uint32_t> family_rank;  // of each rank: its number in those transports
};

class Communicator final : public BindingContext, public ExchangeContext, private FamilyMember {
 public:
  explicit Communicator(CommunicatorOptions options);
  ~Communicator() override;

  // Announces a call whose arguments were checked. Errors are also returned by poll(). Not while one is in
  // flight.
  Status start(const Call& call);
  // The same for a call that waits for what is ahead on users' streams; both stay valid until it has ended.
  Status start(const Call& call, std::span<const std::shared_ptr<Passage>> ahead);
  // kDone also for a call that needed nothing. kFailed: error().
  Progress poll();
  // Ends the call in flight with this error. The control plane is told, unless it knew before or this rank
  // aborts; then poll() is kBusy until it has decided, which is what the call is told on all ranks, or until
  // settle().
  Progress fail(Status status);
  bool undecided() const { return !undecided_.ok(); }
  void settle();
  // Starts a call and waits for its end, as the one call of a Driver.
  Status run(const Call& call);

  const Status& error() const { return error_; }
  // True if the communicator can take calls.
  bool usable() const { return error_.ok(); }
  // Whether error() is set, for good. Any thread; error() may be read by any thread once this is true.
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Makes every present and later call end with an error, soon. Any thread.
  void abort();
  uint64_t calls_started() const { return number_; }
  // Of calls that are started from now on, instead of options.timeout_ns; 0: that again. Not while a call is
  // in flight.
  void set_patience(uint64_t ns) { patience_ns_ = ns; }
  uint32_t nranks() const { return options_.nranks; }
  // What this rank exchanged with whom, each peer once, this rank perhaps included: by Sends and Recvs that
  // ended. Not while a call is in flight.
  std::vector<control::PairCount> pair_counts() const { return used(pair_counts_); }
  // Peers to which there is a link, of a transport's endpoints: what providers carry out needs none.
  size_t links_made() const {
    return links_.size() - static_cast<size_t>(std::count(links_.begin(), links_.end(), nullptr));
  }
  bool oversubscribed() const { return options_.oversubscribed; }

  // For a Driver.
  bool aborted() const { return aborted_.load(std::memory_order_acquire); }
  Oversight* oversight() const { return options_.oversight; }
  uint64_t timeout_ns() const { return patience_ns_ == 0 ? options_.timeout_ns : patience_ns_; }
  // Another rank announced another call as the one in flight.
  bool saw_mismatch() const { return saw_mismatch_; }
  // The call has not begun: it waits for its user's work on a device.
  bool waits_for_others() const { return prologue_ != nullptr && prologue_->pending(); }
  // Work that it gave to a device, or waits for there, is not done.
  bool awaits_device() const;
  // Bit i: the call in flight, or else the last one, moves bytes by transport i.
  uint32_t transports_in_use() const {
    return binding_ == nullptr ? exchange_transports_ : binding_->transports;
  }
  Transport& transport(uint32_t index) const { return *options_.transports[index]; }
  // Transport::arm() and disarm() of all transports in use, which other threads may use for other
  // communicators of the family.
  void arm(Sleeper& sleeper);
  void disarm(Sleeper& sleeper);
  // A number that changes when a rank that the call in flight shares memory with gets on; and the other side
  // of it: this rank did.
  uint64_t mark() const;
  void tell_progress();
  // The call in flight has waited long: tells the control plane of it, and at its end that it is over. The
  // first allocates.
  void report_silence();
  void end_silence() {
    if (silence_reported_) [[unlikely]]
      take_silence_back();
  }
  // The error of a call that waited too long: names whom it waits for, and for what. Allocates.
  Status timed_out() const;
  // Says the same in the log of a call that goes on waiting.
  void warn_of_silence(uint64_t silent_ns) const;

  // Lets go of what messages registered; not while a call is in flight. For who used a link outside of one.
  void end_memory();
  // Memory that the caller says will stay and be used again. Any thread.
  MemoryHints& hints() { return hints_; }

  // Drops all bindings: the plans behind them changed. Not while a call is in flight.
  void forget_bindings();
  const BindingCache& bindings() const { return bindings_; }

  // BindingContext.
  uint32_t rank() const override { return options_.rank; }
  Result<Link*> link_to(uint32_t peer, uint32_t lanes) override;
  GroupProvider* provider_of(const std::vector<uint32_t>& members) override;
  uint32_t transport_bit(uint32_t peer) const override { return 1u << options_.transport_of_peer[peer]; }

  // ExchangeContext.
  Result<Link*> exchange_link_to(uint32_t peer) override;

 private:
  // FamilyMember.
  SegmentSink* sink_from(uint32_t family_rank) override;

  std::pair<std::string, std::string> call_in_words() const;
  bool is_shared(uint32_t transport) const { return (options_.family_transports >> transport & 1u) != 0; }
  // The family, if its lock is needed for what the call in flight does.
  Family* to_hold() const {
    const bool shares = (transports_in_use() & options_.family_transports) != 0;
    return shares && options_.family->shared() ? options_.family : nullptr;
  }
  Family* to_hold(uint32_t transport) const {
    return is_shared(transport) && options_.family->shared() ? options_.family : nullptr;
  }
  Result<Link*> make_link(uint32_t peer);
  void make_call_memory();
  void begin_memory(const Call& call, uint64_t block_bytes);
  void begin_memory_varying(const Call& call);
  void begin_memory(const MemoryRange& input, const MemoryRange& output);
  Status provide(Mapping& mapping, uint64_t bytes, const char* what);
  Progress advance();
  Progress trouble(Progress progress);
  Progress give_up(Status status);
  bool in_place(const Call& call, uint64_t block_bytes) const;
  Result<const Binding*> binding_for(const Call& call, Partials partials, uint64_t block_bytes, bool in_place,
                                     Device& device);
  Status provide_memory(const Binding& binding, Device& device);
  Status provide_bounce(uint64_t bytes);
  // Where a call is carried out, and whether its input has to come there first.
  struct Placement {
    Device* device;
    Device* input;  // whose the input is; null: it lies where it should
  };
  Placement placement_of(const Call& call, uint64_t block_bytes) const;
  Status stage(const Call& call, const Placement& placement, uint64_t block_bytes);
  Prologue& prologue();
  Progress poll_prologue();
  void use_images(const Call& call, Device& device, Arguments& arguments);
  void start_group_alone(const Binding& binding, const Call& call, uint64_t block_bytes);
  // uncommon.cc: v-variants and premulsum.
  Status start_uncommon(const Call& call);
  void begin_uncommon(const Call& call, uint64_t longest, uint64_t signature, Device& device);
  void start_varying_alone(const Call& call, uint64_t signature);
  uint64_t bounce_of_whole_blocks(const Binding& binding) const;
  Status begin_scalar(const Call& call);
  void give_scalar_back();
  void leave_memory_to_devices();
  void begin_to_drain();
  bool drains();
  static DataType image_type_of(const Call& call) {
    return is_narrow_float(call.type) ? DataType::kFloat32 : call.type;
  }
  bool in_place_varying(const Call& call) const;
  Status difference_of_lengths() const;
  Status difference(const DifferingLengths& lengths) const;
  // Logs a call. What its messages carry: its signature, mixed with those of all calls before it.
  uint64_t announce(const control::CallRecord& record);
  Arguments arguments_of(const Call& call, uint64_t block_bytes, uint64_t signature, Device& device) const;
  Status start_exchange(const Call& call);
  // Adds Sends and Recvs to what is counted by peer; and those peers with which anything was exchanged.
  static void count(std::span<const PointToPoint> messages, std::vector<PairCounts>& counts);
  static std::vector<control::PairCount> used(std::span<const PairCounts> counts);
  Progress poll_exchange();
  Status error_in_flight() const;
  Progress poll_idle();
  void report_mismatch();
  // Whether the call in flight is an exchange: such a one has neither a plan nor a provider.
  bool exchanges() const { return in_flight_ && alone_ == nullptr && binding_ == nullptr; }
  void take_silence_back();

  CommunicatorOptions options_;
  uint64_t patience_ns_ = 0;
  Status error_;
  Status undecided_;  // this rank's word on its failure, while the control plane decides
  std::atomic<bool> failed_{false};
  std::atomic<bool> aborted_{false};
  uint64_t number_ = 0;
  uint64_t history_ = 0;  // of all that was announced
  bool in_flight_ = false;
  bool saw_mismatch_ = false;
  const BerthReserve berth_{false};
  uint32_t armed_ = 0;              // transports that arm() armed
  Family* shared_sleep_ = nullptr;  // its lock is needed to disarm them
  GroupProvider* alone_ = nullptr;  // the call in flight is one group step, driven without the executor
  GroupCall alone_call_;
  std::vector<Piece> alone_pieces_;
  const Binding* binding_ = nullptr;
  Executor executor_;
  ImageSource images_;
  std::unique_ptr<Exchange> exchange_;  // from the first on
  std::span<const PointToPoint> exchanged_;
  uint32_t exchange_transports_ = 0;  // of the exchange that is the last call; else 0
  VaryingBlocks varying_;             // of the last v-variant
  Collective varying_collective_ = Collective::kAllGatherV;
  DataType varying_type_ = DataType::kInt8;
  std::unique_ptr<std::array<std::byte, 8>> scalar_;  // of the last call that has one
  Device* scalar_device_ = nullptr;                   // that copies it there; null: nobody
  Token scalar_token_ = 0;
  BindingCache bindings_;
  MemoryHints hints_;
  uint32_t registering_ = 0;  // bit i: transport i registers memory
  std::vector<std::unique_ptr<Registrations>> own_registrations_;
  std::vector<std::unique_ptr<CallMemory>> memories_;          // by transport; null: it registers none
  std::vector<std::unique_ptr<Connections>> own_connections_;  // by peer; null: the family's, or none yet
  std::vector<std::unique_ptr<Link>> links_;                   // by peer
  std::vector<uint32_t> rank_of_family_rank_;                  // UINT32_MAX: no member
  std::vector<PairCounts> pair_counts_;
  bool silence_reported_ = false;
  Mapping host_scratch_, bounce_;
  std::byte* device_scratch_ = nullptr;
  uint64_t device_scratch_bytes_ = 0;
  Device* scratch_device_ = nullptr;
  bool device_goes_on_ = false;  // it was given work for a call that was given up
  // What was on the devices' queues then, until it is done or its time is up: the call has not ended before,
  // as the buffers are its user's again when it has.
  struct Draining {
    Device* device;
    uint32_t queue;
    Token token;
  };
  std::vector<Draining> draining_;
  uint64_t drains_until_ns_ = 0;
  std::unique_ptr<Prologue> prologue_;  // from the first call that has one on
  std::array<std::byte, 64> barrier_token_{};
};

}  // namespace comity::engine
