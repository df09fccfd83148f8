// The user's side of the control plane: hands work to the control thread and waits for the outcome.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

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
constexpr size_t kMaxValueBytes = 200;

Status not_running() {
  return Status(Code::kSystemError,
                "the control thread does not run: the process is ending, or has no resources left");
}

Status listen_for_others(Listeners& listeners) {
  COMITY_ASSIGN_OR_RETURN(listeners, open_listeners(false));
  return {};
}

enum class WaitEnd { kReady, kVerdict, kCancelled, kDeadline, kStopped };

// Sleeps until ready() (called under the node's mutex), a verdict if `heeds_verdict`, or the end of patience.
template <typename Ready>
WaitEnd wait_for(Loop& loop, Node& node, Ready ready, const Deadline& deadline,
                 const std::atomic<bool>* cancelled, bool heeds_verdict) {
  std::unique_lock<std::mutex> lock(node.waits().mutex);
  while (true) {
    if (ready()) return WaitEnd::kReady;
    if (heeds_verdict && node.verdict() != nullptr) return WaitEnd::kVerdict;
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

std::string shown(const std::string& value) {
  return value.size() <= kMaxValueBytes ? value : value.substr(0, kMaxValueBytes) + "...";
}

using Items = std::vector<std::pair<std::string, std::string>>;

Bytes encode_items(std::span<const std::pair<std::string, std::string>> items) {
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(items.size()));
  for (const auto& item : items) writer.put_text(item.first).put_text(item.second);
  return writer.take();
}

Items decode_items(const Bytes& bytes) {
  ByteReader reader(bytes);
  Items items;
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    std::string name = reader.get_text();
    std::string value = reader.get_text();
    if (reader.ok()) items.emplace_back(std::move(name), std::move(value));
  }
  return items;
}

// The lowest item, then the lowest rank, at which a rank differs from rank 0. Every rank computes the same
// sentence.
Status first_difference(const std::vector<Bytes>& everyone) {
  const Items reference = decode_items(everyone[0]);
  std::optional<std::pair<size_t, uint32_t>> found;
  Items found_items;
  for (uint32_t rank = 1; rank < everyone.size(); ++rank) {
    if (everyone[rank] == everyone[0]) continue;
    Items items = decode_items(everyone[rank]);
    const auto differs = std::mismatch(reference.begin(), reference.end(), items.begin(), items.end());
    const auto index = static_cast<size_t>(differs.first - reference.begin());
    if (found && found->first <= index) continue;
    found = {index, rank};
    found_items = std::move(items);
  }
  if (!found) return Status(Code::kInternalError, "ranks had different hashes of equal items");
  const auto describe_item = [&](const Items& items, const std::string& name) {
    const auto has =
        std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.first == name; });
    return has == items.end() ? std::string("nothing") : fmt::format("\"{}\"", shown(has->second));
  };
  const bool extra = found->first >= reference.size();
  const std::string name = extra ? found_items[found->first].first : reference[found->first].first;
  return Status(
      Code::kInvalidUsage,
      fmt::format("ranks disagree on {}: rank 0 has {}, rank {} has {}; give all ranks the same", name,
                  describe_item(reference, name), found->second, describe_item(found_items, name)));
}

class TreeSession final : public Session {
 public:
  TreeSession(Loop& loop, std::shared_ptr<Node> node, const std::atomic<bool>* cancelled)
      : loop_(loop), node_(std::move(node)), cancelled_(cancelled) {}
  ~TreeSession() override { TreeSession::leave(true); }

  Status join(Listeners listeners);
  Result<std::vector<Bytes>> all_gather(const Bytes& mine, Deadline deadline) override;
  Status agree(std::span<const std::pair<std::string, std::string>> items, Deadline deadline) override;
  CallLog& calls() override { return node_->calls(); }
  void report(uint64_t number) override { node_->report(number); }
  void declare(Code code, std::string message) override {
    loop_.post([node = node_, code, text = std::move(message)] { node->declare_fault(code, text); });
  }
  Status conclude(const Status& why) override;
  void begin_work() override {
    loop_.post([node = node_] { node->begin_work(); });
  }
  const Verdict* verdict() const override { return node_->verdict(); }
  const Secret& data_secret() const override { return node_->data_secret(); }
  uint64_t communicator_id() const override { return node_->communicator(); }
  void leave(bool orderly) override;

 private:
  Result<GatherResult> await(uint64_t sequence, const char* what, const Deadline& deadline);
  Status give_up_operation(uint64_t sequence, const char* what);
  Status await_verdict(const Status& otherwise);

  Loop& loop_;
  std::shared_ptr<Node> node_;
  const std::atomic<bool>* cancelled_;
  uint64_t sequence_ = 0;
  std::atomic<bool> left_{false};
};

Status TreeSession::join(Listeners listeners) {
  const uint32_t rank = node_->rank();
  const auto carried = std::make_shared<Listeners>(std::move(listeners));
  if (!loop_.post([node = node_, carried] { node->start(std::move(*carried)); })) return not_running();
  Node::Waits& waits = node_->waits();
  const auto joined = [&] { return waits.joined.has_value(); };
  // The control thread minds the deadline, as it knows who is missing.
  const WaitEnd end = wait_for(loop_, *node_, joined, Deadline::never(), cancelled_, false);
  if (end == WaitEnd::kCancelled) {
    loop_.post([node = node_, rank] {
      node->give_up(Status(Code::kRemoteError, fmt::format("rank {} aborted while it joined", rank)));
    });
    wait_for(loop_, *node_, joined, Deadline::never(), nullptr, false);
  }
  Status status = not_running();
  {
    const std::lock_guard<std::mutex> lock(waits.mutex);
    if (waits.joined) status = *waits.joined;
  }
  // A verdict may have come right after the last rank did: then this communicator never worked.
  if (!status.ok()) leave(false);
  return status;
}

Result<GatherResult> TreeSession::await(uint64_t sequence, const char* what, const Deadline& deadline) {
  Node::Waits& waits = node_->waits();
  const auto ready = [&] { return waits.results.contains(sequence); };
  switch (wait_for(loop_, *node_, ready, deadline, cancelled_, true)) {
    case WaitEnd::kReady: {
      const std::lock_guard<std::mutex> lock(waits.mutex);
      auto taken = waits.results.extract(sequence);
      return std::move(taken.mapped());
    }
    case WaitEnd::kVerdict:
      return status_of(*node_->verdict());
    case WaitEnd::kCancelled:
      return Status(Code::kRemoteError,
                    fmt::format("rank {} aborted while it waited in {}", node_->rank(), what));
    case WaitEnd::kDeadline:
      return give_up_operation(sequence, what);
    case WaitEnd::kStopped:
      break;
  }
  return not_running();
}

// An operation that one rank gives up on is over for all.
Status TreeSession::give_up_operation(uint64_t sequence, const char* what) {
  loop_.post([node = node_, sequence, what] {
    node->declare_fault(Code::kTimeout,
                        fmt::format("rank {} waited for {} in {} until its deadline", node->rank(),
                                    node->gathering().waiting_for(sequence), what));
  });
  return await_verdict(
      Status(Code::kTimeout, fmt::format("rank {} waited in {} until its deadline", node_->rank(), what)));
}

Status TreeSession::conclude(const Status& why) {
  declare(why.code(), std::string(why.message()));
  return await_verdict(why);
}

// The verdict on what was declared; `otherwise` where none comes.
Status TreeSession::await_verdict(const Status& otherwise) {
  wait_for(
      loop_, *node_, [] { return false; }, Deadline::after_ms(kVerdictWithinMs), cancelled_, true);
  const Verdict* verdict = node_->verdict();
  return verdict != nullptr ? status_of(*verdict) : otherwise;
}

Result<std::vector<Bytes>> TreeSession::all_gather(const Bytes& mine, Deadline deadline) {
  if (const Verdict* verdict = node_->verdict()) return status_of(*verdict);
  const uint64_t sequence = ++sequence_;
  if (!loop_.post([node = node_, sequence, mine] { node->gathering().begin_gather(sequence, mine); })) {
    return not_running();
  }
  COMITY_ASSIGN_OR_RETURN(GatherResult result, await(sequence, "an all-gather of initialisation", deadline));
  return std::move(result.items);
}

Status TreeSession::agree(std::span<const std::pair<std::string, std::string>> items, Deadline deadline) {
  if (const Verdict* verdict = node_->verdict()) return status_of(*verdict);
  const Bytes encoded = encode_items(items);
  const uint64_t sequence = ++sequence_;
  if (!loop_.post([node = node_, sequence, hash = hash_of(encoded)] {
        node->gathering().begin_compare(sequence, hash);
      })) {
    return not_running();
  }
  COMITY_ASSIGN_OR_RETURN(const GatherResult result, await(sequence, "the comparison of settings", deadline));
  if (result.equal) return {};
  COMITY_ASSIGN_OR_RETURN(const std::vector<Bytes> everyone, all_gather(encoded, deadline));
  return first_difference(everyone);
}

void TreeSession::leave(bool orderly) {
  if (left_.exchange(true)) return;
  if (!loop_.post([node = node_, orderly] { node->leave(orderly); })) return;
  wait_for(
      loop_, *node_, [this] { return node_->waits().left; }, Deadline::after_ms(kLeaveWithinMs), nullptr,
      false);
}

}  // namespace

Result<UniqueId> create_unique_id() {
  COMITY_ASSIGN_OR_RETURN(Listeners listeners, open_listeners(true));
  IdContent content;
  content.addresses = listeners.addresses;
  content.left_out = listeners.left_out;
  random_bytes(content.secret.data(), content.secret.size());
  Loop& loop = Loop::instance();
  const auto carried = std::make_shared<Listeners>(std::move(listeners));
  const bool posted = loop.post([&loop, carried, secret = content.secret] {
    Meeting::open(loop, std::move(carried->sockets), secret);
  });
  if (!posted) return not_running();
  return encode_id(content);
}

Status give_up_joining(const UniqueId& id, uint32_t rank, uint32_t nranks, const Status& why) {
  const auto content = decode_id(id);
  if (!content.ok()) return why;
  return say_farewell(*content, rank, nranks, why, Deadline::after_ms(kFarewellWithinMs));
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
  Loop& loop = Loop::instance();
  auto session = std::make_unique<TreeSession>(loop, std::make_shared<Node>(loop, std::move(node_options)),
                                               options.cancelled);
  Listeners listeners;
  Status status = options.nranks > 1 ? listen_for_others(listeners) : Status();
  if (status.ok() && loop.stopped()) status = not_running();
  if (!status.ok()) {
    const std::string text = fmt::format("rank {} cannot join: {}", options.rank, status.message());
    return give_up_joining(options.id, options.rank, options.nranks, Status(status.code(), text));
  }
  COMITY_RETURN_IF_ERROR(session->join(std::move(listeners)));
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace comity::control
