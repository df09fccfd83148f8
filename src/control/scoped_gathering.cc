#include "src/control/scoped_gathering.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "src/control/scope.h"

namespace comity::control {
namespace {

constexpr uint64_t kGatheredBytes = kTreePayloadBytes / 2;  // leaves room for the framing of small ones

void merge(ScopePart& into, const ScopePart& part) {
  const bool is_first = into.came.empty();
  into.equal = part.equal && (is_first || (into.equal && into.hash == part.hash));
  if (is_first) into.hash = part.hash;
  into.came.add(part.came);
  into.lowest = std::min(into.lowest, part.lowest);
  for (size_t i = 0; i < into.balance.size(); ++i) into.balance[i] += part.balance[i];
}

// "ranks 1, 2", of a split communicator "ranks 1, 2 (ranks 5, 7 of the family)" where the numbers differ.
std::string names_of_absent(const LateScope& late, const ScopePart& part) {
  const RankSet absent = RankSet(0, part.members).without(part.came);
  RankSet in_family;
  for (uint32_t rank = 0; rank < late.members.size(); ++rank) {
    if (absent.contains(rank)) in_family.add(late.members[rank]);
  }
  const char* noun = absent.size() == 1 ? "rank" : "ranks";
  std::string names = fmt::format("{} {}", noun, absent.text());
  if (!late.members.empty() && in_family != absent)
    names += fmt::format(" ({} {} of the family)", noun, in_family.text());
  return names;
}

}  // namespace

void ScopedGathering::stop() {
  for (const auto& operation : open_) loop_.cancel(operation.second.timer);
  open_.clear();
}

void ScopedGathering::erase(std::map<Key, Operation>::iterator operation) {
  loop_.cancel(operation->second.timer);
  open_.erase(operation);
}

void ScopedGathering::begin(ScopePart mine) {
  const Key key{mine.communicator, mine.sequence};
  Operation& operation = open_[key];
  operation.mine = true;
  take(key, operation, std::move(mine));
}

bool ScopedGathering::on_up(uint32_t child, std::span<const std::byte> payload) {
  auto part = decode_scope_part(payload);
  if (!part) return false;
  const Key key{part->communicator, part->sequence};
  if (part->came.empty()) {
    const auto found = open_.find(key);
    if (found == open_.end()) return true;
    if (port_.has_parent()) port_.to_parent(MessageType::kScopeUp, payload);
    if (!found->second.mine) erase(found);
    return true;
  }
  Operation& operation = open_[key];
  operation.children.insert(child);
  take(key, operation, std::move(*part));
  return true;
}

void ScopedGathering::take(const Key& key, Operation& operation, ScopePart part) {
  ScopePart& waiting = operation.part;
  const bool fits_in =
      waiting.members == 0 || (waiting.members == part.members && waiting.compares == part.compares &&
                               part.came.without(waiting.came) == part.came);
  if (!fits_in) {
    return port_.declare_fault(
        key.first, Code::kInvalidUsage,
        fmt::format(
            "ranks disagree on step {} of communicator {:016x}: one gathers where another compares, or "
            "they give it different members; run the same release everywhere",
            key.second, key.first));
  }
  for (RankedBytes& item : part.items) {
    operation.bytes += item.bytes.size();
    operation.items[item.rank] = std::move(item.bytes);
  }
  if (operation.bytes > kGatheredBytes) {
    return port_.declare_fault(
        key.first, Code::kInvalidArgument,
        fmt::format("ranks contribute {} bytes and more to one all-gather; {} in all are the limit",
                    operation.bytes, kGatheredBytes));
  }
  if (waiting.members == 0) {
    waiting.communicator = key.first;
    waiting.sequence = key.second;
    waiting.members = part.members;
    waiting.compares = part.compares;
  }
  merge(waiting, part);
  if (operation.timer == 0) {
    operation.timer = loop_.after_ms(0, [this, key] { pass_on(key); });
  }
}

// What came, as a message; the operation then holds nothing.
ScopePart ScopedGathering::drain(Operation& operation) {
  ScopePart part = operation.part;
  for (auto& item : operation.items) part.items.push_back({item.first, std::move(item.second)});
  operation.items.clear();
  operation.bytes = 0;
  ScopePart none;
  none.communicator = part.communicator;
  none.sequence = part.sequence;
  none.members = part.members;
  none.compares = part.compares;
  operation.part = none;
  return part;
}

void ScopedGathering::pass_on(const Key& key) {
  const auto found = open_.find(key);
  if (found == open_.end()) return;
  Operation& operation = found->second;
  operation.timer = 0;
  if (port_.has_parent()) {
    operation.passed_on = true;
    return port_.to_parent(MessageType::kScopeUp, encode(drain(operation)));
  }
  if (operation.part.came.size() == operation.part.members) finish(key, drain(operation));
}

// The root has it all until it answers. Whoever lost its parent meanwhile hears of that.
void ScopedGathering::late(const LateScope& late) {
  if (port_.has_parent()) return port_.to_parent(MessageType::kScopeLate, encode(late));
  const auto found = open_.find({late.communicator, late.sequence});
  if (found == open_.end() || found->second.passed_on) return;
  const uint32_t member = late.members.empty() ? late.rank : late.members[late.rank];
  port_.declare_fault(
      late.communicator, Code::kTimeout,
      fmt::format("{} waited for {} in {} until its deadline", name_of_rank(late.rank, member),
                  names_of_absent(late, found->second.part), late.what));
}

bool ScopedGathering::on_late(std::span<const std::byte> payload) {
  const auto told = decode_late_scope(payload);
  if (!told) return false;
  late(*told);
  return true;
}

void ScopedGathering::finish(const Key& key, const ScopePart& whole) {
  const auto found = open_.find(key);
  if (found == open_.end()) return;
  const Operation operation = std::move(found->second);
  erase(found);
  const Bytes payload = encode(whole);
  for (const uint32_t child : operation.children) port_.to_child(child, MessageType::kScopeDown, payload);
  if (!operation.mine) return;
  GatherResult result;
  result.equal = whole.equal;
  result.lowest = whole.lowest;
  result.balance = whole.balance;
  for (const RankedBytes& item : whole.items) result.items.push_back(item.bytes);
  done_(key.first, key.second, std::move(result));
}

bool ScopedGathering::on_down(std::span<const std::byte> payload) {
  const auto whole = decode_scope_part(payload);
  if (!whole || whole->came.size() != whole->members) return false;
  finish({whole->communicator, whole->sequence}, *whole);
  return true;
}

void ScopedGathering::give_up(uint64_t communicator) {
  for (auto next = open_.lower_bound({communicator, 0}); next != open_.end();) {
    const auto operation = next++;
    if (operation->first.first != communicator) break;
    if (!operation->second.mine) continue;
    ScopePart none;
    none.communicator = communicator;
    none.sequence = operation->first.second;
    port_.to_parent(MessageType::kScopeUp, encode(none));
    erase(operation);
  }
}

void ScopedGathering::forget(uint64_t communicator) {
  for (auto next = open_.lower_bound({communicator, 0}); next != open_.end();) {
    const auto operation = next++;
    if (operation->first.first != communicator) break;
    erase(operation);
  }
}

void ScopedGathering::on_tree_mended() {
  std::set<uint64_t> hurt;
  for (const auto& operation : open_) hurt.insert(operation.first.first);
  for (const uint64_t communicator : hurt) {
    port_.declare_fault(
        communicator, Code::kRemoteError,
        "another rank of the family ended while this communicator was being made or finalized, "
        "and what its ranks told each other may be lost; make it again");
  }
}

}  // namespace comity::control
