// The user's side of the control plane: hands work to the control thread and waits for the outcome.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/control/agreed_items.h"
#include "src/control/call_counts.h"
#include "src/control/control.h"
#include "src/control/farewell.h"
#include "src/control/meeting.h"
#include "src/control/node.h"
#include "src/control/tree_shape.h"
#include "src/control/unique_id.h"

namespace comity::control {
namespace {

constexpr int kCancelLookedAtEveryMs = 5;
constexpr int kLongestSleepMs = 100;
constexpr uint64_t kLeaveWithinMs = 50;
constexpr uint64_t kVerdictWithinMs =
    10'000;  // longer than a part of the tree may take to find itself cut off
constexpr uint64_t kFarewellWithinMs = 2000;
constexpr const char* kFinalize = "comityCommFinalize";
constexpr uint64_t kFirstExchange = uint64_t{1} << 32;  // below: Gathering's operations

Status listen_for_others(const std::optional<Settings>& given, Listeners& listeners) {
  if (given.has_value()) {
    COMITY_ASSIGN_OR_RETURN(listeners, open_listeners(*given, false));
    return {};
  }
  COMITY_ASSIGN_OR_RETURN(const Settings settings, Settings::read());
  COMITY_ASSIGN_OR_RETURN(listeners, open_listeners(settings, false));
  return {};
}

enum class WaitEnd { kReady, kVerdict, kCancelled, kDeadline, kStopped };

// Sleeps until ready() (called under the node's mutex), the verdict of `heeded`, or the end of patience.
template <typename Ready>
WaitEnd wait_for(Loop& loop, Node& node, Ready ready, const Deadline& deadline,
                 const std::atomic<bool>* cancelled, const Scope* heeded) {
  std::unique_lock<std::mutex> lock(node.waits().mutex);
  while (true) {
    if (ready()) return WaitEnd::kReady;
    if (heeded != nullptr && heeded->verdict.load(std::memory_order_acquire) != nullptr)
      return WaitEnd::kVerdict;
    if (cancelled != nullptr && cancelled->load(std::memory_order_acquire)) return WaitEnd::kCancelled;
    if (deadline.passed()) return WaitEnd::kDeadline;
    if (loop.stopped()) return WaitEnd::kStopped;
    const int sleep_ms = deadline.left_ms(cancelled != nullptr ? kCancelLookedAtEveryMs : kLongestSleepMs);
    node.waits().changed.wait_for(lock, std::chrono::milliseconds(std::max(sleep_ms, 1)));
  }
}

Status status_of(const Verdict& verdict) {
  return Status(verdict.code, verdict.message);
}

class TreeMail final : public Mail {
 public:
  TreeMail(Loop& loop, std::shared_ptr<Node> node, uint8_t box)
      : loop_(loop), node_(std::move(node)), box_(box) {}
  ~TreeMail() override { TreeMail::close(); }
  void open(MailReceiver& receiver) override { node_->letterboxes()->open(box_, receiver); }
  void close() override { node_->letterboxes()->close(box_); }
  void send(uint32_t to, std::span<const std::byte> letter) override {
    loop_.post([node = node_, to, box = box_, content = Bytes(letter.begin(), letter.end())] {
      node->post_letter(to, box, content);
    });
  }

 private:
  Loop& loop_;
  std::shared_ptr<Node> node_;
  const uint8_t box_;
};

class TreeSession final : public Session {
 public:
  TreeSession(Loop& loop, std::shared_ptr<Node> node, std::shared_ptr<Scope> scope,
              const std::atomic<bool>* cancelled)
      : loop_(loop), node_(std::move(node)), scope_(std::move(scope)), cancelled_(cancelled) {}
  ~TreeSession() override { TreeSession::leave(true); }

  Status join(Listeners listeners);
  Result<std::vector<Bytes>> all_gather(const Bytes& mine, Deadline deadline) override;
  Status agree(std::span<const std::pair<std::string, std::string>> items, Deadline deadline) override;
  Status finalize(std::span<const PairCount> exchanged, Deadline deadline) override;
  Result<std::unique_ptr<Session>> scope(uint64_t id, std::vector<uint32_t> members,
                                         std::string name) override;
  CallLog& calls() override { return scope_->calls; }
  WaitingFor& waiting() override { return scope_->waiting; }
  void report(uint64_t number) override { node_->report(scope_, number, number); }
  void report_waiting() override {
    loop_.post([node = node_, id = scope_->id] { node->ring_search().report(id); });
  }
  void declare(Code code, std::string message) override {
    loop_.post([node = node_, id = scope_->id, code, text = std::move(message)] {
      node->declare_fault(id, code, text);
    });
  }
  Status conclude(const Status& why) override;
  std::unique_ptr<Mail> mail(uint8_t box) override { return std::make_unique<TreeMail>(loop_, node_, box); }
  void begin_work() override {
    loop_.post([node = node_] { node->begin_work(); });
  }
  const Verdict* verdict() const override { return scope_->verdict.load(std::memory_order_acquire); }
  const Secret& data_secret() const override { return node_->data_secret(); }
  uint64_t communicator_id() const override { return scope_->id; }
  void leave(bool orderly) override;

 private:
  bool is_base() const { return scope_ == node_->base(); }
  Result<GatherResult> compare(const std::array<std::byte, 32>& hash, uint64_t number,
                               const std::array<uint64_t, 2>& balance, const char* what, Deadline deadline);
  Result<GatherResult> exchange(ScopePart part, const char* what, const Deadline& deadline);
  Result<std::vector<Bytes>> gather_in_scope(const Bytes& mine, const char* what, Deadline deadline);
  Result<GatherResult> await(uint64_t sequence, const char* what, const Deadline& deadline);
  void give_up_operation(uint64_t sequence, const char* what);
  Status await_verdict(const Status& otherwise);
  // What two ranks that finalize called differently.
  Status difference(CallCounts mine, const GatherResult& compared);

  Loop& loop_;
  std::shared_ptr<Node> node_;
  std::shared_ptr<Scope> scope_;
  const std::atomic<bool>* cancelled_;
  uint64_t sequence_ = 0;   // of the first communicator's operations while ranks join
  uint64_t exchanges_ = 0;  // of those of ScopedGathering
  std::atomic<bool> left_{false};
};

Status TreeSession::join(Listeners listeners) {
  const uint32_t rank = node_->rank();
  const auto carried = std::make_shared<Listeners>(std::move(listeners));
  if (!loop_.post([node = node_, carried] { node->start(std::move(*carried)); })) return Loop::not_running();
  Node::Waits& waits = node_->waits();
  const auto joined = [&] { return waits.joined.has_value(); };
  // The control thread minds the deadline, as it knows who is missing.
  const WaitEnd end = wait_for(loop_, *node_, joined, Deadline::never(), cancelled_, nullptr);
  if (end == WaitEnd::kCancelled) {
    loop_.post([node = node_, rank] {
      node->give_up(Status(Code::kRemoteError, fmt::format("rank {} aborted while it joined", rank)));
    });
    wait_for(loop_, *node_, joined, Deadline::never(), nullptr, nullptr);
  }
  Status status = Loop::not_running();
  {
    const std::lock_guard<std::mutex> lock(waits.mutex);
    if (waits.joined) status = *waits.joined;
  }
  // A verdict may have come right after the last rank did: then this communicator never worked.
  if (!status.ok()) leave(false);
  return status;
}

Result<GatherResult> TreeSession::await(uint64_t sequence, const char* what, const Deadline& deadline) {
  // Another thread's leave() ends the wait, too.
  const auto ready = [&] { return scope_->gone || scope_->results.contains(sequence); };
  WaitEnd end = wait_for(loop_, *node_, ready, deadline, cancelled_, scope_.get());
  if (end == WaitEnd::kDeadline) {
    give_up_operation(sequence, what);
    end = wait_for(loop_, *node_, ready, Deadline::after_ms(kVerdictWithinMs), cancelled_, scope_.get());
  }
  switch (end) {
    case WaitEnd::kReady: {
      const std::lock_guard<std::mutex> lock(node_->waits().mutex);
      auto taken = scope_->results.extract(sequence);
      if (!taken.empty()) return std::move(taken.mapped());
      break;
    }
    case WaitEnd::kVerdict:
      return status_of(*verdict());
    case WaitEnd::kCancelled:
      break;
    case WaitEnd::kDeadline:
      return Status(Code::kTimeout,
                    fmt::format("rank {} waited in {} until its deadline", scope_->rank, what));
    case WaitEnd::kStopped:
      return Loop::not_running();
  }
  return Status(Code::kRemoteError, fmt::format("rank {} aborted while it waited in {}", scope_->rank, what));
}

// An operation that one rank gives up on is over for all, unless its answer comes first.
void TreeSession::give_up_operation(uint64_t sequence, const char* what) {
  loop_.post([node = node_, scope = scope_, sequence, what, base = is_base()] {
    if (!base || sequence >= kFirstExchange)
      return node->scoped_gathering().late({scope->id, sequence, scope->rank, scope->members, what});
    node->declare_fault(scope->id, Code::kTimeout,
                        fmt::format("rank {} waited for {} in {} until its deadline", scope->rank,
                                    node->gathering().waiting_for(sequence), what));
  });
}

Status TreeSession::conclude(const Status& why) {
  declare(why.code(), std::string(why.message()));
  return await_verdict(why);
}

Status TreeSession::await_verdict(const Status& otherwise) {
  const WaitEnd end = wait_for(
      loop_, *node_, [] { return false; }, Deadline::after_ms(kVerdictWithinMs), cancelled_, scope_.get());
  return end == WaitEnd::kVerdict ? status_of(*verdict()) : otherwise;
}

Result<std::vector<Bytes>> TreeSession::all_gather(const Bytes& mine, Deadline deadline) {
  if (const Verdict* known = verdict()) return status_of(*known);
  if (!is_base()) return gather_in_scope(mine, "an all-gather", deadline);
  const uint64_t sequence = ++sequence_;
  if (!loop_.post(
          [node = node_, sequence, bytes = mine] { node->gathering().begin_gather(sequence, bytes); })) {
    return Loop::not_running();
  }
  COMITY_ASSIGN_OR_RETURN(GatherResult result, await(sequence, "an all-gather", deadline));
  return std::move(result.items);
}

Status TreeSession::agree(std::span<const std::pair<std::string, std::string>> items, Deadline deadline) {
  if (const Verdict* known = verdict()) return status_of(*known);
  const Bytes encoded = encode_items(items);
  constexpr const char* kWhat = "the comparison of settings";
  GatherResult result;
  if (is_base()) {
    const uint64_t sequence = ++sequence_;
    if (!loop_.post([node = node_, sequence, hash = hash_of(encoded)] {
          node->gathering().begin_compare(sequence, hash);
        })) {
      return Loop::not_running();
    }
    COMITY_ASSIGN_OR_RETURN(result, await(sequence, kWhat, deadline));
  } else {
    COMITY_ASSIGN_OR_RETURN(result, compare(hash_of(encoded), 0, {}, kWhat, deadline));
  }
  if (result.equal) return {};
  COMITY_ASSIGN_OR_RETURN(const std::vector<Bytes> everyone, all_gather(encoded, deadline));
  return first_difference(everyone);
}

// --- Among the members of one communicator -----------------------------------------------------------------

Result<std::unique_ptr<Session>> TreeSession::scope(uint64_t id, std::vector<uint32_t> members,
                                                    std::string name) {
  if (const Verdict* known = verdict()) return status_of(*known);
  const auto own = std::find(members.begin(), members.end(), node_->rank());
  std::vector<uint32_t> sorted = members;
  std::sort(sorted.begin(), sorted.end());
  const bool twice = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  if (id == 0 || id == node_->communicator() || own == members.end() || twice ||
      sorted.back() >= node_->nranks()) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("communicator {:016x} of {} members cannot be: each is a rank of the family, named "
                    "once, rank {} among them, and the name is not another's",
                    id, members.size(), node_->rank()));
  }
  const auto rank = static_cast<uint32_t>(own - members.begin());
  const auto count = static_cast<uint32_t>(members.size());
  const auto scope = std::make_shared<Scope>(id, std::move(members), rank, count, std::move(name));
  if (!loop_.post([node = node_, scope] { node->open_scope(scope); })) return Loop::not_running();
  return std::unique_ptr<Session>(std::make_unique<TreeSession>(loop_, node_, scope, nullptr));
}

Result<GatherResult> TreeSession::exchange(ScopePart part, const char* what, const Deadline& deadline) {
  const uint64_t sequence = kFirstExchange + ++exchanges_;
  part.communicator = scope_->id;
  part.sequence = sequence;
  part.members = scope_->nranks;
  part.came.add(scope_->rank);
  const auto carried = std::make_shared<ScopePart>(std::move(part));
  if (!loop_.post([node = node_, scope = scope_, carried] {
        if (scope->verdict.load() == nullptr && !scope->left)
          node->scoped_gathering().begin(std::move(*carried));
      })) {
    return Loop::not_running();
  }
  return await(sequence, what, deadline);
}

Result<std::vector<Bytes>> TreeSession::gather_in_scope(const Bytes& mine, const char* what,
                                                        Deadline deadline) {
  ScopePart part;
  part.items.push_back({scope_->rank, mine});
  COMITY_ASSIGN_OR_RETURN(GatherResult result, exchange(std::move(part), what, deadline));
  return std::move(result.items);
}

Result<GatherResult> TreeSession::compare(const std::array<std::byte, 32>& hash, uint64_t number,
                                          const std::array<uint64_t, 2>& balance, const char* what,
                                          Deadline deadline) {
  ScopePart part;
  part.compares = true;
  part.hash = hash;
  part.lowest = number;
  part.balance = balance;
  return exchange(std::move(part), what, deadline);
}

Status TreeSession::finalize(std::span<const PairCount> exchanged, Deadline deadline) {
  if (const Verdict* known = verdict()) return status_of(*known);
  scope_->finalizes.store(true, std::memory_order_release);
  CallCounts mine{scope_->rank, scope_->calls.last_number(), {exchanged.begin(), exchanged.end()}, {}, {}};
  mine.recent = recent_signatures(scope_->calls);
  ByteWriter number;
  number.put(mine.collectives);
  for (const uint64_t signature : mine.recent) number.put(signature);
  // It waits for all: as in one more collective.
  scope_->waiting.in_collective(mine.collectives + 1, mine.pairs);
  const auto compared =
      compare(hash_of(number.bytes()), mine.collectives, balance_of(mine), kFinalize, deadline);
  scope_->waiting.over();
  COMITY_ASSIGN_OR_RETURN(const GatherResult result, compared);
  if (result.equal && result.balance == std::array<uint64_t, 2>{}) return {};
  return conclude(difference(std::move(mine), result));
}

// All have come, and come again at once: it takes no longer than a verdict.
Status TreeSession::difference(CallCounts mine, const GatherResult& compared) {
  const Deadline soon = Deadline::after_ms(kVerdictWithinMs);
  if (const auto next = scope_->calls.find(compared.lowest + 1)) mine.next = describe(*next);
  COMITY_ASSIGN_OR_RETURN(const std::vector<Bytes> sent, gather_in_scope(encode(mine), kFinalize, soon));
  COMITY_ASSIGN_OR_RETURN(const std::vector<CallCounts> everyone, decode_counts(sent));
  const DifferingCall differing = first_differing_call(everyone);
  if (compared.balance != std::array<uint64_t, 2>{} || differing.number == 0)
    return first_difference_in_counts(everyone, compared.lowest);
  const auto record = scope_->calls.find(differing.number);
  ByteWriter called;
  called.put_text(record ? describe(*record) : "a call that it forgot");
  COMITY_ASSIGN_OR_RETURN(const std::vector<Bytes> all, gather_in_scope(called.take(), kFinalize, soon));
  ByteReader one(all[0]), other(all[differing.rank]);
  return Status(Code::kInvalidUsage,
                fmt::format("ranks disagree on collective {}: rank 0 called {}, rank {} called {}",
                            differing.number, one.get_text(), differing.rank, other.get_text()));
}

void TreeSession::leave(bool orderly) {
  if (left_.exchange(true)) return;
  if (!loop_.post([node = node_, scope = scope_, orderly] { node->leave(scope, orderly); })) return;
  wait_for(
      loop_, *node_, [this] { return scope_->gone; }, Deadline::after_ms(kLeaveWithinMs), nullptr, nullptr);
}

}  // namespace

Status give_up_joining(const UniqueId& id, uint32_t rank, uint32_t nranks, const Status& why,
                       const Settings* settings) {
  const auto content = decode_id(id);
  if (!content.ok()) return why;
  return say_farewell(*content, rank, nranks, why, Deadline::after_ms(kFarewellWithinMs), settings);
}

Result<std::unique_ptr<Session>> Session::join(const JoinOptions& options) {
  COMITY_ASSIGN_OR_RETURN(IdContent id, decode_id(options.id));
  if (options.nranks == 0 || options.nranks > kMaxRanks || options.rank >= options.nranks) {
    return Status(Code::kInvalidArgument,
                  fmt::format("rank {} of {} ranks cannot be: ranks count from 0, and at most {} "
                              "can join",
                              options.rank, options.nranks, kMaxRanks));
  }
  Node::Options node_options;
  node_options.rank = options.rank;
  node_options.nranks = options.nranks;
  node_options.id = std::move(id);
  node_options.deadline = options.deadline;
  node_options.name = options.name;
  if (options.settings) node_options.settings = std::make_shared<const Settings>(*options.settings);
  Loop& loop = Loop::instance();
  const auto node = std::make_shared<Node>(loop, std::move(node_options));
  auto session = std::make_unique<TreeSession>(loop, node, node->base(), options.cancelled);
  Listeners listeners;
  Status status = options.nranks > 1 ? listen_for_others(options.settings, listeners) : Status();
  if (status.ok() && loop.stopped()) status = Loop::not_running();
  if (!status.ok()) {
    const std::string text = fmt::format("rank {} cannot join: {}", options.rank, status.message());
    return give_up_joining(options.id, options.rank, options.nranks, Status(status.code(), text),
                           options.settings ? &*options.settings : nullptr);
  }
  COMITY_RETURN_IF_ERROR(session->join(std::move(listeners)));
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace comity::control
