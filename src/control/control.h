// The control plane: how ranks find each other, learn what each one sees, agree, and hear of faults.
//
//   unique id     128 bytes that the caller passes around: addresses of the creator's meeting point, a secret
//   meeting       each rank visits the creator briefly, proves the secret, tells its own listener, and gets
//                 its parent's address or "come back"; the creator's process must live until init ends
//   tree          rank r's parent is (r - 1) / kFanOut: a rank holds at most kFanOut + 1 control sockets
//   verdict       what the tree decided of a fault or mismatch: the same code and sentence on every rank
//   family        the communicators that come from one unique id share one tree: scope() gives a split one a
//                 session of its own, which opens no socket
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
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/base/settings.h"
#include "src/base/socket.h"
#include "src/base/unique_fd.h"
#include "src/control/call_log.h"
#include "src/control/waiting_for.h"

namespace comity::control {

inline constexpr uint32_t kFanOut = 8;

using UniqueId = std::array<std::byte, 128>;

// Opens a meeting point in this process (bound per COMITY_SOCKET_ADDRESS / COMITY_SOCKET_IFNAME, served by
// the control thread until every rank of one communicator met, or the process ends) and returns its id.
// Blocks briefly. Errors: kSystemError (address in use, none usable), kInvalidArgument (a setting).
Result<UniqueId> create_unique_id();

// A meeting point whose secret, or whose port, the ranks know beforehand.
struct MeetingPlace {
  Secret secret{};
  uint16_t port = 0;  // 0: chosen, as create_unique_id() does
  // With a port: addresses to listen on besides those of the usable interfaces, if they are this host's; how
  // long to wait for the port to be free; how many ranks will come.
  std::vector<SocketAddress> also;
  Deadline patience = Deadline::after_ms(0);
  uint32_t nranks = 0;
};
// create_unique_id() there. kSystemError: the port is in use on one of the addresses, and by whom. Ranks that
// come to the others hear so, and so does the meeting of the same secret that holds it.
Result<UniqueId> create_unique_id_at(const MeetingPlace& place);
// The id of the meeting point that create_unique_id_at() of another process opens at `addresses`, with their
// ports. Sends nothing.
UniqueId unique_id_at(const std::vector<SocketAddress>& addresses, const Secret& secret);

// Who answers where the creator of an id should.
struct Found {
  enum class Who {
    kNobody,    // no answer, or a refusal, at one address at least
    kStranger,  // every address that answers is held by another: other secret, other release, no Comity
    kSilent,    // the addresses that take connections say nothing: no Comity, or a host under much load
    kMeeting,   // the creator serves its meeting point, and knows the secret
    kFailed,    // it does, and init has failed
  };
  Who who = Who::kNobody;
  Code code = Code::kRemoteError;  // of kFailed
  std::string what;                // of kFailed why; else what each address answers, where one does
};
// Needs no control thread; blocks for a second at most for each address of the id, usually for less than a
// millisecond.
Found look_for_meeting(const UniqueId& id, uint32_t rank);

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
  // Which interfaces to listen on; nothing: the process's settings.
  std::optional<Settings> settings;
  std::string name;  // of the communicator, for the log; may be empty
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
  // All ranks have made their last call: compares how many collectives each made (as calls() has them, this
  // one not among them), and of each pair the sends of one with the receives of the other. `exchanged`: whom
  // this rank sent to or received from, each peer once. Collective; blocks; some bytes a rank when all is
  // well. Else kInvalidUsage names the first two ranks that differ, with both numbers, and is the verdict.
  // From the moment of the call on, this rank answers a question after a later collective by "never".
  virtual Status finalize(std::span<const PairCount> exchanged, Deadline deadline) = 0;

  // A session of another communicator of this family. `members`: by rank there, their ranks in the session
  // that joined; this rank among them. `id`: its public name, the same on all members and unlike that of any
  // other communicator of the family, ever (a hash of the parent's id, the split's number and the colour).
  // `name`: what the user calls it, for the log; may be empty.
  // It has its own calls, numbering of gatherings, verdict and leave(): a mismatch, an error that is declared
  // and an abort end it alone; the death of a process ends every communicator in which that was a member and
  // which it had not left. Ranks in its methods are the communicator's own; sentences name a rank by that
  // number, and by the family's where the two differ. Both sessions may be left and destroyed in any order;
  // the rank leaves the tree with its last one. Any thread; does not block. Errors: kInvalidArgument (members
  // or id), the verdict of this session.
  virtual Result<std::unique_ptr<Session>> scope(uint64_t id, std::vector<uint32_t> members,
                                                 std::string name) = 0;

  // The calls of this rank, to answer the root's questions from. Owned by the session.
  virtual CallLog& calls() = 0;
  // "I have waited, or saw another signature, in call `number`." Never blocks, any thread; at most one report
  // per number and 100 ms goes up the tree. The root then asks all ranks for their call of that number and,
  // if two differ, floods the verdict, which names both.
  virtual void report(uint64_t number) = 0;
  // What this rank waits for at present; the data path tells it when it has waited for long, and then calls
  // report_waiting(). Owned by the session.
  virtual WaitingFor& waiting() = 0;
  // "I have waited for 100 ms in what waiting() says." Never blocks, any thread; call again every 100 ms of
  // waiting. If ranks wait for one another in a ring of which a Send or Recv is part, so that none can ever
  // get on, the verdict (kInvalidUsage) names two of the calls. A rank that is in no call waits for nobody.
  virtual void report_waiting() = 0;
  // Declares an error of this rank (its code and sentence) to all; the first one wins everywhere.
  virtual void declare(Code code, std::string message) = 0;
  // This rank cannot go on: declares it and waits for the verdict, which is the same on all ranks and may
  // name another cause that was declared before. Blocks, usually for ms, ten seconds at most (`why` then).
  virtual Status conclude(const Status& why) = 0;
  // Letters between ranks of the family, to the box of the same number there; one at a time for each number.
  // Valid as long as the result, which may outlive the session: then nothing is sent, and nothing comes.
  virtual std::unique_ptr<Mail> mail(uint8_t box) = 0;
  // Initialisation is over: ranks may be busy for long. Until then a host that falls silent is declared so
  // within seconds, from now on within half a minute.
  virtual void begin_work() = 0;
  // Null while all is well. Set once; the pointer stays valid as long as the session. Any thread, one load.
  virtual const Verdict* verdict() const = 0;

  // Secret for data sockets of this communicator, derived from the id's; and its public 64-bit name.
  virtual const Secret& data_secret() const = 0;
  virtual uint64_t communicator_id() const = 0;

  // Leaves this communicator: with `orderly`, peers are told and see no fault; without (abort), peers get the
  // verdict "rank r aborted". Ends what another thread waits for in this session. Blocks at most some tens of
  // ms. Idempotent.
  virtual void leave(bool orderly) = 0;
};

// A rank that cannot even begin to join tells the meeting point why, so that the others do not wait for it.
// Needs no control thread. Blocks for two seconds at most. The reason that the meeting point was told first,
// which is everybody's; `why` where it does not answer.
// `settings`: of the communicator, for the interfaces that lead there; null: the process's.
Status give_up_joining(const UniqueId& id, uint32_t rank, uint32_t nranks, const Status& why,
                       const Settings* settings = nullptr);

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
