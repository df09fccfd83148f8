// One queue of a device behind a table: tokens made of events, and reductions that the device cannot do.
//
//   issue -> [held, if a reduction on the host is under way] -> table.copy / table.reduce -> event -> token
//   done
//
// A reduction that the table refuses is done by the host, in pieces and double-buffered: sources to pinned
// memory, reduced there, result back. What is issued behind it is held until its last copy is on the queue,
// so that a queue keeps its order whoever computes.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "comity/plugin/device.h"
#include "src/device/table/host_reduction.h"
#include "src/device/table/runtime.h"

namespace comity {

class TableQueue {
 public:
  // What all queues of a device have in common. Outlives them.
  struct Context {
    const DeviceRuntime& runtime;
    uint32_t device;
    const comityDeviceProperties& properties;
    uint64_t timeout_ns;  // without a completion: the device hangs; 0: never
  };
  static Result<std::unique_ptr<TableQueue>> create(const Context& context);
  ~TableQueue();
  TableQueue(const TableQueue&) = delete;
  TableQueue& operator=(const TableQueue&) = delete;

  // As the Device's. Any thread; a short lock.
  Result<Token> copy(void* to, const void* from, uint64_t bytes, uint32_t way);
  Result<Token> reduce(const ReduceWork& work);
  Result<bool> poll(Token token);
  Token issued() const;
  // Of the queue, for the conformance suite.
  comityDeviceQueue_t raw() const { return queue_; }

 private:
  struct Marked {
    Token token;
    comityDeviceEvent_t event;
  };
  // A copy, or a reduction with its lists.
  struct Held {
    Token token = 0;
    bool copies = false;
    void* to = nullptr;
    const void* from = nullptr;
    uint64_t bytes = 0;
    uint32_t way = 0;
    OwnedReduction reduction;
  };
  // Scratch that was outgrown, until what uses it is done.
  struct Outgrown {
    Token token;
    void* memory;
  };

  TableQueue(const Context& context, comityDeviceQueue_t queue);
  const comityDeviceTable& table() const { return context_.runtime.table(); }
  Status fail(int32_t result, const char* function);
  Status issue_copy(void* to, const void* from, uint64_t bytes, uint32_t way);
  // False: the device cannot; nothing that matters was issued.
  Result<bool> issue_reduction(const ReduceWork& work);
  Result<bool> issue_chain(const ReduceWork& work);
  Result<bool> issue_one(const comityDeviceReduction& reduction);
  Status provide_accumulators(uint64_t bytes);
  bool may_reduce(const ReduceWork& work) const;
  Status mark(Token token);
  Status advance_held();
  Result<bool> reduce_on_host(const OwnedReduction& reduction);
  Result<bool> complete(comityDeviceEvent_t event);
  Status update();
  Status watch();
  Result<comityDeviceEvent_t> idle_event();

  const Context context_;
  const comityDeviceQueue_t queue_;
  mutable std::mutex mutex_;  // all below
  Status error_;              // fatal
  Token issued_ = 0;
  Token done_ = 0;
  uint64_t polled_ns_ = 0;
  uint64_t moved_ns_ = 0;  // when something was done last, or the queue stopped being empty
  std::deque<Marked> marked_;
  std::vector<comityDeviceEvent_t> idle_;
  std::deque<Held> held_;
  std::unique_ptr<HostReduction> on_host_;  // of held_.front()
  PinnedMemory staging_;
  std::array<std::array<bool, COMITY_DEVICE_OPS>, COMITY_DEVICE_TYPES> refused_{};
  void* accumulators_ = nullptr;
  uint64_t accumulators_bytes_ = 0;
  std::vector<Outgrown> outgrown_;
};

}  // namespace comity
