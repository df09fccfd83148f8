#include "src/control/mending.h"

#include <algorithm>
#include <utility>

#include "src/control/tree_shape.h"

namespace comity::control {
namespace {

constexpr size_t kAskedAtOnce = 64;

}  // namespace

ConnectTarget target_of(const TreeCall& call, const AddressBook& book, uint32_t to, TreePurpose purpose) {
  ConnectTarget target;
  target.settings = call.settings;
  target.addresses = book.of(to);
  target.secret = call.secret;
  target.hello.role = SocketRole::kTree;
  target.hello.rank = call.rank;
  target.hello.peer_rank = to;
  target.hello.detail = static_cast<uint64_t>(purpose);
  target.hello.communicator = call.communicator;
  target.per_address_ms = call.answer_within_ms;
  target.retry_closed = true;
  return target;
}

// --- Mending ---------------------------------------------------------------------------------------------

Mending::Mending(Loop& loop, const TreeCall& call, const AddressBook& book, Events events)
    : loop_(loop), call_(call), book_(book), events_(std::move(events)) {}

std::shared_ptr<Mending> Mending::start(Loop& loop, const TreeCall& call, const AddressBook& book,
                                        uint32_t parent, const RankSet& not_these, Events events) {
  std::shared_ptr<Mending> mending(new Mending(loop, call, book, std::move(events)));
  RankSet done = not_these;
  std::vector<std::vector<uint32_t>> rounds;
  if (done.add(parent)) rounds.push_back({parent});
  for (uint32_t rank = call.rank; rank > 0;) {
    rank = parent_of(rank);
    if (done.add(rank)) rounds.push_back({rank});
  }
  for (uint32_t rank = done.next_absent(0); rank < call.rank; rank = done.next_absent(rank)) {
    if (rounds.empty() || rounds.back().size() == kAskedAtOnce || rounds.back().front() > rank)
      rounds.emplace_back();
    rounds.back().push_back(rank);
    done.add(rank);
  }
  std::reverse(rounds.begin(), rounds.end());
  mending->rounds_ = std::move(rounds);
  mending->next_round();
  return mending;
}

void Mending::cancel() {
  events_ = {};
  for (const auto& asked : std::exchange(asked_, {})) asked.second->cancel();
  answered_.clear();
  rounds_.clear();
}

void Mending::next_round() {
  const auto self = shared_from_this();
  if (rounds_.empty()) {
    // Later, so that no event comes before start() returned.
    loop_.after_ms(0, [self] {
      const auto alone = std::exchange(self->events_, {}).alone;
      if (alone) alone();
    });
    return;
  }
  const std::vector<uint32_t> round = std::move(rounds_.back());
  rounds_.pop_back();
  for (const uint32_t rank : round) {
    asked_[rank] = Connector::start(loop_, target_of(call_, book_, rank, TreePurpose::kBeMyParent),
                                    [self, rank](Result<StreamPtr> stream, Connector::Answer answer) {
                                      self->on_end(rank, std::move(stream), answer);
                                    });
  }
}

void Mending::on_end(uint32_t rank, Result<StreamPtr> stream, Connector::Answer answer) {
  const auto self = shared_from_this();
  asked_.erase(rank);
  if (stream.ok()) {
    answered_[rank] = std::move(stream).value();
  } else if (const auto failed = events_.failed) {
    failed(rank, answer != Connector::Answer::kNone);
  }
  settle_round();
}

// The lowest of a round wins as soon as no lower one may still answer.
void Mending::settle_round() {
  if (!events_.found) return;  // cancelled
  if (!answered_.empty()) {
    const auto lowest = answered_.begin();
    if (!asked_.empty() && asked_.begin()->first < lowest->first) return;
    const auto found = events_.found;
    const uint32_t parent = lowest->first;
    StreamPtr stream = std::move(lowest->second);
    cancel();
    return found(parent, std::move(stream));
  }
  if (asked_.empty()) next_round();
}

// --- Summons ---------------------------------------------------------------------------------------------

Summons::Summons(Loop& loop, const TreeCall& call, const AddressBook& book, Events events)
    : loop_(loop), call_(call), book_(book), events_(std::move(events)) {}

std::shared_ptr<Summons> Summons::start(Loop& loop, const TreeCall& call, const AddressBook& book,
                                        Events events) {
  return std::shared_ptr<Summons>(new Summons(loop, call, book, std::move(events)));
}

void Summons::cancel() {
  events_ = {};
  wanted_.clear();
  loop_.cancel(std::exchange(timer_, 0));
  for (const auto& called : std::exchange(called_, {})) called.second->cancel();
}

void Summons::want(const RankSet& ranks) {
  wanted_ = ranks;
  wanted_.remove(call_.rank);
  if (timer_ == 0 && !wanted_.empty()) call_next();
}

void Summons::call_once(uint32_t rank) {
  if (events_.came && !called_.contains(rank)) call(rank);
}

// A turn over those wanted; what remains is called again in the next one.
void Summons::call_next() {
  loop_.cancel(std::exchange(timer_, 0));
  if (!events_.came) return;
  while (called_.size() < kAtOnce) {
    const RankSet before = next_ == 0 ? RankSet() : RankSet(0, next_);
    const RankSet left = wanted_.without(before);
    if (left.empty()) break;
    next_ = left.first() + 1;
    if (!called_.contains(left.first())) call(left.first());
  }
  if (called_.empty()) {
    next_ = 0;
    if (wanted_.empty()) return;
    timer_ = loop_.after_ms(kAgainAfterMs, [self = shared_from_this()] {
      self->timer_ = 0;
      self->call_next();
    });
  }
}

void Summons::call(uint32_t rank) {
  called_[rank] =
      Connector::start(loop_, target_of(call_, book_, rank, TreePurpose::kBeMyChild),
                       [self = shared_from_this(), rank](Result<StreamPtr> stream, Connector::Answer answer) {
                         self->on_end(rank, std::move(stream), answer);
                       });
}

void Summons::on_end(uint32_t rank, Result<StreamPtr> stream, Connector::Answer answer) {
  const auto self = shared_from_this();
  called_.erase(rank);
  const Events events = events_;
  if (stream.ok()) {
    if (events.came) events.came(rank, std::move(stream).value());
  } else if (events.failed) {
    events.failed(rank, answer != Connector::Answer::kNone);
  }
  if (timer_ == 0) call_next();
}

}  // namespace comity::control
