// The control plane: how ranks find each other, learn what each one sees, agree, and hear of faults.
//
//   unique id     128 bytes that the caller passes around: addresses of the creator's meeting point, a secret
//   meeting       each rank visits the creator briefly, proves the secret, tells its own listener, and gets
//                 its parent's address or "come back"; the creator's process must live until init ends
//   tree          rank r's parent is (r - 1) / kFanOut: a rank holds at most kFanOut + 1 control sockets
//   verdict       what the tree decided of a fault or mismatch: the same code and sentence on every rank
//
// One control thread per process, asleep in epoll, advances every Session of the process; Session's methods
// only hand it work and wait with a deadline. Nothing here touches a data endpoint.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/base/unique_fd.h"
#include "src/control/call_log.h"

namespace comity::control {

inline constexpr uint32_t kFanOut = 8;

using UniqueId = std::array<std::byte, 128>;

// Opens a meeting point in this process (bound per COMITY_SOCKET_ADDRESS / COMITY_SOCKET_IFNAME, served by
// the control thread until every rank of one communicator met, or the process ends) and returns its id.
// Blocks briefly. Errors: kSystemError (address in use, none usable), kInvalidArgument (a setting).
Result<UniqueId> create_unique_id();

struct Verdict {
  Code code;
  std::string message;
};

struct JoinOptions {
  UniqueId id{};
  uint32_t rank = 0;
  uint32_t nranks = 1;
  Deadline deadline = Deadline::never();
  // May be null. Set by another thread to end any wait of the session; must outlive the session.
  const std::atomic<bool>* cancelled = nullptr;
};

class Session {
 public:
  // Meets the other ranks and stands in the tree. Blocks until all `nranks` are connected or the deadline
  // passed. Errors, each naming what is wrong: kInvalidArgument (damaged id, rank >= nranks, rank given
  // twice, ranks that disagree on nranks), kTimeout (names the missing ranks), kRemoteError (wrong secret),
  // kSystemError.
  static Result<std::unique_ptr<Session>> join(const JoinOptions& options);
  virtual ~Session() = default;  // leaves in order, as leave() does, if that was not called

  // Everyone's `mine`, by rank; at most 128 MiB in all (kInvalidArgument on all ranks). A collective of the
  // session: all ranks call in the same order, from one thread at a time. Blocks. An operation that one rank
  // gives up on (kTimeout, which names whom it waited for) is over for all: it becomes the verdict. After a
  // verdict every call returns that.
  virtual Result<std::vector<Bytes>> all_gather(const Bytes& mine, Deadline deadline) = 0;
  // Checks that every rank has the same items (name, value). One hash crosses the tree when all is well; else
  // kInvalidUsage names the first differing item, two ranks and their values. Collective; blocks; same error
  // on all.
  virtual Status agree(std::span<const std::pair<std::string, std::string>> items, Deadline deadline) = 0;

  // The calls of this rank, to answer the root's questions from. Owned by the session.
  virtual CallLog& calls() = 0;
  // "I have waited, or saw another signature, in call `number`." Never blocks, any thread; at most one report
  // per number and 100 ms goes up the tree. The root then asks all ranks for their call of that number and,
  // if two differ, floods the verdict, which names both.
  virtual void report(uint64_t number) = 0;
  // Declares an error of this rank (its code and sentence) to all; the first one wins everywhere.
  virtual void declare(Code code, std::string message) = 0;
  // This rank cannot go on: declares it and waits for the verdict, which is the same on all ranks and may
  // name another cause that was declared before. Blocks, usually for ms, ten seconds at most (`why` then).
  virtual Status conclude(const Status& why) = 0;
  // Initialisation is over: ranks may be busy for long. Until then a host that falls silent is declared so
  // within seconds, from now on within half a minute.
  virtual void begin_work() = 0;
  // Null while all is well. Set once; the pointer stays valid as long as the session. Any thread, one load.
  virtual const Verdict* verdict() const = 0;

  // Secret for data sockets of this communicator, derived from the id's; and its public 64-bit name.
  virtual const Secret& data_secret() const = 0;
  virtual uint64_t communicator_id() const = 0;

  // Leaves: with `orderly`, peers are told and see no fault; without (abort), peers get the verdict "rank r
  // aborted". Blocks at most some tens of ms. Idempotent.
  virtual void leave(bool orderly) = 0;
};

// A rank that cannot even begin to join tells the meeting point why, so that the others do not wait for it.
// Needs no control thread. Blocks for two seconds at most. The reason that the meeting point was told first,
// which is everybody's; `why` where it does not answer.
Status give_up_joining(const UniqueId& id, uint32_t rank, uint32_t nranks, const Status& why);

// Takes over a data connection that is done: sends `unsent`, ends its direction and closes it once nothing of
// what was sent can be lost, which the end of the process waits for as long as bytes move, and for 30 s
// without movement. Any thread; does not block, except once the process ends. See src/base/drain.h.
void finish_connection(UniqueFd socket, Bytes unsent);

// --- Descriptors of this process's memory, for peers on the same host --------------------------------------

// Called on the control thread with an arena's number; returns a descriptor that stays the callee's, or an
// error.
using DescriptorProvider = std::function<Result<UniqueFd>(uint32_t arena)>;
// Serves descriptors of this process's arenas from now on. Once per process, before the first join.
void serve_descriptors(DescriptorProvider provider);
// Abstract unix socket name at which this process answers, unguessable and without a file; starts the
// service.
Result<std::string> descriptor_socket_name();

}  // namespace comity::control
