// Handles: what a comityComm_t points to, and how a dead or foreign one is told from a live one.
//
//   making --> live --> finalizing --> finalized
//      \-> broken                                     each --> dead (destroy, abort), of the parent (fork)
//
// Only a live one takes calls; the others are waited for, asked about and given back. All that is heavy (the
// Assembly) goes with destroy or abort; the small rest is never freed (handle_table.h). In a child of fork()
// the Assembly stays as it is, touched by nobody.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/api/assembly.h"
#include "src/api/handle_table.h"
#include "src/engine/call.h"
#include "src/engine/stream_dispatcher.h"

namespace comity::api {

// Premulsum with a scalar.
struct Operation {
  DataType type = DataType::kInt8;  // of the calls that use it
  engine::Scalar scalar;
};

}  // namespace comity::api

struct comityComm {
  static constexpr uint64_t kMagic = 0x79746d6f63796d6d;

  uint64_t magic = kMagic;
  std::atomic<uint32_t> state{comity::api::kMaking};
  std::atomic<bool> in_call{false};
  bool blocking = true;    // this and the next two never change
  bool split_off = false;  // made by a split behind the caller's back, which knows its rank at its end
  int process = 0;         // that made it
  std::string name;        // comityConfig_t's; may be empty. Set before anybody has the handle
  // rank() of one that is being split off is that of the parent, until nranks() is not 0.
  std::atomic<uint32_t> rank_{0}, nranks_{0};
  uint32_t rank() const { return rank_.load(std::memory_order_relaxed); }
  uint32_t nranks() const { return nranks_.load(std::memory_order_acquire); }
  // Of a communicator that does not block: its calls without a stream.
  std::shared_ptr<comity::engine::Outcome> behind;
  // Set before the handle is live, and there until it is dead.
  std::unique_ptr<comity::api::Assembly> assembly;
  std::shared_ptr<comity::engine::CallQueue> queue;  // calls that are enqueued; never taken away
  std::atomic<bool> cancelled{false};                // by abort: ends the init that `worker` does

  // By number, those of comityRedOpCreatePreMulSum. For the thread inside a call.
  std::unordered_map<int, comity::api::Operation> operations;

  std::mutex mutex;        // of the assembly's removal and of what follows; never taken by a collective
  comity::Status trouble;  // why it could not be made or finalized
  std::thread worker;  // worker.h; and what it has still to do, a list: it holds nothing while it is empty
  bool works = false;
  std::list<std::function<void()>> errands;
};

namespace comity::api {

// A new handle that is being made.
comityComm_t new_handle(uint32_t rank, uint32_t nranks, const CommConfig& config);
// One that a split makes behind the caller's back; the rank of the parent.
comityComm_t new_split_handle(uint32_t parent_rank, const CommConfig& config);
// Makes it live, with what it holds from now on. False: it was aborted meanwhile, and whoever did that gives
// the assembly back.
bool adopt(comityComm_t comm, std::unique_ptr<Assembly> assembly, const CommConfig& config);
// The same of one that is split off; aborted meanwhile, it is given back here.
void adopt_split(comityComm_t comm, std::unique_ptr<Assembly> assembly, const CommConfig& config);
// It could not be made, if it is being made still.
void set_broken(comityComm_t comm, const Status& why);
// new_handle() and adopt().
comityComm_t make_handle(std::unique_ptr<Assembly> assembly, uint32_t rank, uint32_t nranks,
                         const CommConfig& config);

// What errors of this communicator begin with: "comityAllReduce", or with the communicator's name, if it has
// one.
std::string about(comityComm_t comm, const char* function);
// "the communicator of rank 1", with its name, if it has one.
std::string name_of(comityComm_t comm);

// Success for a live handle; kInvalidArgument ("comityAllReduce: comm is NULL / was destroyed / is no
// communicator"); kInvalidUsage for one that takes no call now, or that the process has from its parent.
Status check_handle(comityComm_t comm, const char* function);
// Success for one that is not dead, whatever it takes.
Status check_exists(comityComm_t comm, const char* function);

// Marks the handle as in use by the calling thread for its lifetime. ok() is false if another thread uses it,
// or if it takes no call any more.
class InCall {
 public:
  explicit InCall(comityComm_t comm)
      : comm_(comm), entered_(!comm->in_call.exchange(true, std::memory_order_acq_rel)) {
    alive_ = comm->state.load(std::memory_order_acquire) == kLive;
  }
  ~InCall() {
    if (entered_) comm_->in_call.store(false, std::memory_order_release);
  }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;
  comityComm_t comm() const { return comm_; }
  bool ok() const { return entered_ && alive_; }
  // Why it is not ok().
  Status why(const char* function) const;

 private:
  comityComm_t comm_;
  bool entered_;
  bool alive_;
};

// The error that a communicator has come to: the verdict of all ranks, else its engine's own. For the thread
// inside a call.
Status error_of(comityComm_t comm);
// The same, and what went wrong behind the caller's back, for any thread, also while another one destroys or
// aborts the handle: kInvalidArgument then.
Status error_of_any_thread(comityComm_t comm, const char* function);

}  // namespace comity::api
