// Communicator: one rank's side of a set of ranks: its links, bindings and the call in flight.
//
// start() announces a call and poll() advances it; a Driver does both, and looks at all that may end a call
// early: abort, verdict, deadline. Calls execute one at a time, in order. One thread at a time; abort() may
// come from any thread. After an error the communicator is unusable: every later call returns that error. A
// call whose binding is still kept (binding_cache.h) allocates nothing, takes no lock, logs nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/control/call_log.h"
#include "src/device/registry.h"
#include "src/engine/binding.h"
#include "src/engine/binding_cache.h"
#include "src/engine/executor.h"
#include "src/engine/plan_source.h"

namespace comity::engine {

struct Call {
  Collective collective = Collective::kBarrier;
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;
  // Elements as the C API counts them: all_reduce, reduce, broadcast: of the buffer; all_gather: of one
  // rank's input; reduce_scatter: of one rank's output.
  uint64_t count = 0;
  uint32_t root = 0;
  const void* input = nullptr;
  void* output = nullptr;
};

// The control plane as the engine sees it. Any thread; neither blocks.
class Oversight {
 public:
  virtual ~Oversight() = default;
  // Success until the ranks were given a verdict; then that error.
  virtual bool condemned() const = 0;
  virtual Status verdict() const = 0;
  // This rank has waited long, or saw another signature, in call `number`.
  virtual void report(uint64_t number) = 0;
  // This rank failed: the others will not get what they wait for, and must hear of it.
  virtual void declare(const Status& status) = 0;
};

struct CommunicatorOptions {
  uint32_t rank = 0;
  uint32_t nranks = 1;
  uint64_t id = 0;                         // the communicator's public id
  std::vector<Transport*> transports;      // outlive the communicator
  std::vector<uint8_t> transport_of_peer;  // index into transports, by rank (own entry unused)
  PlanSource* plans = nullptr;
  DeviceRegistry* devices = nullptr;
  control::CallLog* calls = nullptr;  // may be null (simulation)
  Oversight* oversight = nullptr;     // may be null (simulation): a mismatch is then an error at once
  bool oversubscribed = false;        // more ranks on this host than cores
  uint64_t timeout_ns = 0;            // 0: wait for a live peer for ever
  ReleaseRule release = ReleaseRule::kTransmitted;
};

class Communicator final : public BindingContext {
 public:
  explicit Communicator(CommunicatorOptions options);
  ~Communicator() override;

  // Announces a call whose arguments were checked. Errors are also returned by poll(). Not while one is in
  // flight.
  Status start(const Call& call);
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
  bool oversubscribed() const { return options_.oversubscribed; }

  // For a Driver.
  bool aborted() const { return aborted_.load(std::memory_order_acquire); }
  Oversight* oversight() const { return options_.oversight; }
  uint64_t timeout_ns() const { return options_.timeout_ns; }
  // Another rank announced another call as the one in flight.
  bool saw_mismatch() const { return saw_mismatch_; }
  // Bit i: the call in flight, or else the last one, moves bytes by transport i.
  uint32_t transports_in_use() const { return binding_ == nullptr ? 0 : binding_->transports; }
  Transport& transport(uint32_t index) const { return *options_.transports[index]; }
  // A number that changes when a rank that the call in flight shares memory with gets on; and the other side
  // of it: this rank did.
  uint64_t mark() const;
  void tell_progress();
  // The error of a call that waited too long: names whom it waits for, and for what. Allocates.
  Status timed_out() const;

  // Drops all bindings: the plans behind them changed. Not while a call is in flight.
  void forget_bindings();
  const BindingCache& bindings() const { return bindings_; }

  // BindingContext.
  uint32_t rank() const override { return options_.rank; }
  Result<Link*> link_to(uint32_t peer, uint32_t lanes) override;
  GroupProvider* provider_of(const std::vector<uint32_t>& members) override;
  uint32_t transport_bit(uint32_t peer) const override { return 1u << options_.transport_of_peer[peer]; }

 private:
  bool in_place(const Call& call, uint64_t block_bytes) const;
  Result<const Binding*> binding_for(const Call& call, Partials partials, uint64_t block_bytes, bool in_place,
                                     Device& device);
  Status provide_memory(const Binding& binding, Device& device);
  Result<Device*> device_for(const Call& call, uint64_t block_bytes);
  void use_images(const Call& call, Device& device, Arguments& arguments);
  void start_group_alone(const Binding& binding, const Call& call, uint64_t block_bytes);
  Progress poll_idle();
  void report_mismatch();

  CommunicatorOptions options_;
  Status error_;
  Status undecided_;  // this rank's word on its failure, while the control plane decides
  std::atomic<bool> failed_{false};
  std::atomic<bool> aborted_{false};
  uint64_t number_ = 0;
  bool in_flight_ = false;
  bool saw_mismatch_ = false;
  GroupProvider* alone_ = nullptr;  // the call in flight is one group step, driven without the executor
  GroupCall alone_call_;
  std::vector<Piece> alone_pieces_;
  const Binding* binding_ = nullptr;
  Executor executor_;
  ImageSource images_;
  BindingCache bindings_;
  std::vector<std::unique_ptr<Link>> links_;  // by peer
  Mapping host_scratch_, bounce_;
  std::byte* device_scratch_ = nullptr;
  uint64_t device_scratch_bytes_ = 0;
  Device* scratch_device_ = nullptr;
  std::array<std::byte, 64> barrier_token_{};
};

}  // namespace comity::engine
