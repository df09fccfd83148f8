// Handles: what a comityComm_t points to, and how a dead or foreign one is told from a live one.
//
// The small object behind a handle is never freed, so a use after destroy finds it marked dead instead of
// freed memory; all that is heavy (the Assembly) goes with destroy or abort. In a child of fork() each live
// handle is marked as its parent's, and its Assembly stays as it is, touched by nobody.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/api/assembly.h"

struct comityComm {
  static constexpr uint64_t kMagic = 0x79746d6f63796d6d;
  enum State : uint32_t { kLive = 1, kDead = 2, kOfParent = 3 };

  uint64_t magic = kMagic;
  std::atomic<uint32_t> state{kLive};
  std::atomic<bool> in_call{false};
  uint32_t rank = 0;
  uint32_t nranks = 0;
  int process = 0;  // that made it
  std::unique_ptr<comity::api::Assembly> assembly;

  std::mutex mutex;  // of the assembly's removal and of what follows; never taken by a collective
  uintptr_t next_registration = 1;
  std::unordered_map<uintptr_t, std::pair<uintptr_t, size_t>> registrations;  // number: address, bytes
};

namespace comity::api {

// A new live handle around an assembly.
comityComm_t make_handle(std::unique_ptr<Assembly> assembly, uint32_t rank, uint32_t nranks);

// Success for a live handle; kInvalidArgument ("comityAllReduce: comm is NULL / was destroyed / is no
// communicator"); kInvalidUsage for one that the process has from its parent.
Status check_handle(comityComm_t comm, const char* function);

// Marks the handle as in use by the calling thread for its lifetime. ok() is false if another thread uses it,
// or if it died.
class InCall {
 public:
  explicit InCall(comityComm_t comm)
      : comm_(comm), entered_(!comm->in_call.exchange(true, std::memory_order_acq_rel)) {
    alive_ = comm->state.load(std::memory_order_acquire) == comityComm::kLive;
  }
  ~InCall() {
    if (entered_) comm_->in_call.store(false, std::memory_order_release);
  }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;
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
// The same for any thread, also while another one destroys or aborts the handle: kInvalidArgument then.
Status error_of_any_thread(comityComm_t comm, const char* function);

}  // namespace comity::api
