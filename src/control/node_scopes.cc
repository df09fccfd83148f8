// The communicators of the family on this rank: which are open, which it left, and what verdicts end.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/base/berth.h"
#include "src/base/log.h"
#include "src/control/node.h"

namespace comity::control {
namespace {

constexpr size_t kLeftKept = 64;  // communicators that others may still ask about

}  // namespace

void Node::open_scope(const std::shared_ptr<Scope>& scope) {
  if (left_ || finished_ || !joined_) {
    return end_scope(*scope,
                     fault_of(Code::kRemoteError, fmt::format("rank {} has left the family", options_.rank)));
  }
  if (scopes_.contains(scope->id) || left_by_[options_.rank].contains(scope->id)) {
    return end_scope(*scope,
                     fault_of(Code::kInvalidArgument,
                              fmt::format("two communicators of one family are called {:016x}", scope->id)));
  }
  scopes_[scope->id] = scope;
  share(nullptr);
  for (const Fault& verdict : decision_.log()) {
    if (scope->ended_by(verdict)) end_scope(*scope, verdict);
  }
  if (end_of_all_) end_scope(*scope, *end_of_all_);
}

void Node::end_scopes(const Fault& fault) {
  for (const auto& [id, scope] : scopes_) {
    if (scope->ended_by(fault)) end_scope(*scope, fault);
  }
  if (fault.communicator != 0) scoped_gathering_.forget(fault.communicator);
}

void Node::end_scope(Scope& scope, const Fault& fault) {
  if (scope.verdict_storage) return;
  scope.verdict_storage = std::make_unique<const Verdict>(Verdict{fault.code, sentence_for(fault, scope)});
  scope.verdict.store(scope.verdict_storage.get(), std::memory_order_release);
  inquest_.forget(scope.id);
  ring_search_.forget(scope.id);
  scoped_gathering_.give_up(scope.id);
  wake_everyone();  // threads that sleep in a call of that communicator
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  waits_.changed.notify_all();
}

// --- Leaving one -----------------------------------------------------------------------------------------

void Node::leave(const std::shared_ptr<Scope>& scope, bool orderly) {
  if (std::exchange(scope->left, true)) return;
  const auto open = scopes_.find(scope->id);
  const bool is_open = open != scopes_.end() && open->second == scope;
  if (is_open && scopes_.size() == 1) return leave_tree(scope, orderly);
  if (is_open) part_with_scope(scope, orderly);
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  scope->gone = true;
  waits_.changed.notify_all();
}

void Node::part_with_scope(const std::shared_ptr<Scope>& scope, bool orderly) {
  scoped_gathering_.give_up(scope->id);
  if (!orderly && !scope->verdict_storage) {
    Fault fault = fault_of(Code::kRemoteError, "aborted");
    fault.communicator = scope->id;
    fault.rank = options_.rank;
    hold(fault);
  }
  note_left(*scope);
  scopes_.erase(scope->id);
  const Bytes payload = encode(Parted{{scope->id}});
  for_each_neighbour([&](Neighbour& neighbour) {
    neighbour.channel->send(static_cast<uint16_t>(MessageType::kParted), payload);
  });
}

void Node::note_left(Scope& scope) {
  left_by_[options_.rank].insert(scope.id);
  left_scopes_.push_back(left_scope_of(scope));
  if (left_scopes_.size() > kLeftKept) left_scopes_.pop_front();
}

// --- What neighbours know of each other ------------------------------------------------------------------

std::vector<uint64_t> Node::left_by(uint32_t member) const {
  const auto found = left_by_.find(member);
  if (found == left_by_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

void Node::tell_standing(Neighbour& neighbour) {
  if (shared_) neighbour.channel->send(static_cast<uint16_t>(MessageType::kShared), {});
  const std::vector<uint64_t> left = left_by(options_.rank);
  if (left.empty()) return;
  neighbour.channel->send(static_cast<uint16_t>(MessageType::kParted), encode(Parted{left}));
}

bool Node::on_parted(uint32_t member, std::span<const std::byte> payload) {
  const auto parted = decode_parted(payload);
  if (!parted) return false;
  left_by_[member].insert(parted->communicators.begin(), parted->communicators.end());
  return true;
}

bool Node::on_shared(const Channel* from, std::span<const std::byte> payload) {
  if (joined_) share(from);
  return payload.empty() && joined_;
}

// The first split of the family. Whoever had its one verdict before, and did not mend the tree, does now.
void Node::share(const Channel* except) {
  if (shared_) return;
  const bool was_over = over();
  shared_ = true;
  for_each_neighbour([&](Neighbour& neighbour) {
    if (neighbour.channel.get() != except)
      neighbour.channel->send(static_cast<uint16_t>(MessageType::kShared), {});
  });
  if (was_over && !over() && !finished_ && !left_ && !parent_ && !mending_ && options_.rank != 0)
    mend(options_.rank, false);
}

// --- Questions about calls -------------------------------------------------------------------------------

std::optional<Waiting> Node::waits_in(uint64_t communicator) const {
  const auto open = scopes_.find(communicator);
  if (open == scopes_.end()) return std::nullopt;
  const Scope& scope = *open->second;
  Waiting waits{0, communicator, scope.rank, options_.rank, 0, {}, scope.waiting.look()};
  // After what it waits for: a number that is too high hides a ring until the next question, no more.
  waits.last_number = scope.calls.last_number();
  if (const auto record = scope.calls.find(waits.now.collective)) waits.record = *record;
  return waits;
}

std::vector<Opinion> Node::opinions_on(const Inquiry& inquiry) const {
  std::vector<Opinion> opinions;
  const auto add = [&](uint64_t number, uint32_t rank, Standing standing, const CallRecord& record) {
    opinions.push_back(Opinion{number, rank, options_.rank, standing, record});
  };
  const auto never = [&](uint64_t last_number, uint32_t rank, Standing standing) {
    CallRecord last;
    last.number = last_number;
    for (uint64_t number = std::max(inquiry.first, last_number + 1); number <= inquiry.last; ++number)
      add(number, rank, standing, last);
  };
  if (const auto open = scopes_.find(inquiry.communicator); open != scopes_.end()) {
    const Scope& scope = *open->second;
    // Before its calls are looked at: it makes none afterwards.
    const bool finished = scope.finalizes.load(std::memory_order_acquire);
    for (uint64_t number = inquiry.first; number <= inquiry.last; ++number) {
      if (const auto record = scope.calls.find(number)) add(number, scope.rank, Standing::kCalled, *record);
    }
    if (finished) never(scope.calls.last_number(), scope.rank, Standing::kFinished);
    return opinions;
  }
  for (const LeftScope& left : left_scopes_) {
    if (left.id != inquiry.communicator) continue;
    for (const CallRecord& record : left.records) {
      if (record.number >= inquiry.first && record.number <= inquiry.last)
        add(record.number, left.rank, Standing::kCalled, record);
    }
    never(left.last_number, left.rank, Standing::kLeft);
  }
  return opinions;
}

}  // namespace comity::control
