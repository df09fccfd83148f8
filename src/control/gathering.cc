#include "src/control/gathering.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/control/tree_shape.h"

namespace comity::control {
namespace {
constexpr uint64_t kGatheredBytes = kTreePayloadBytes / 2;  // leaves room for the framing of small ones
}  // namespace

Gathering::Operation& Gathering::begin(uint64_t sequence, Kind kind) {
  begun_ = sequence;
  Operation& operation = open_[sequence];
  operation.begun = true;
  if (operation.kind != Kind::kUnknown && operation.kind != kind) {
    port_.declare_fault(
        port_.communicator(), Code::kInvalidUsage,
        fmt::format("ranks disagree on step {} of initialisation: rank {} gathers where a rank below it "
                    "compares, or the other way round; run the same release everywhere",
                    sequence, port_.rank()));
  }
  operation.kind = kind;
  return operation;
}

void Gathering::begin_gather(uint64_t sequence, Bytes mine) {
  begin(sequence, Kind::kGather).items[port_.rank()] = std::move(mine);
  advance(sequence);
}

void Gathering::begin_compare(uint64_t sequence, const std::array<std::byte, 32>& mine) {
  Operation& operation = begin(sequence, Kind::kCompare);
  operation.hash = mine;
  for (const auto& hash : operation.hashes) operation.equal &= hash == mine;
  advance(sequence);
}

Gathering::Operation* Gathering::accept_up(uint32_t child, uint64_t sequence, Kind kind) {
  if (sequence <= finished_ || sequence > begun_ + 1) return nullptr;
  Operation& operation = open_[sequence];
  if (operation.kind == Kind::kUnknown) operation.kind = kind;
  if (operation.kind != kind) {
    port_.declare_fault(
        port_.communicator(), Code::kInvalidUsage,
        fmt::format("ranks disagree on step {} of initialisation: of ranks {} and {}, one gathers where "
                    "the other compares; run the same release everywhere",
                    sequence, port_.rank(), child));
    return nullptr;
  }
  const bool is_first = operation.children.try_emplace(child, true).second;
  return is_first ? &operation : nullptr;
}

bool Gathering::on_gather_up(uint32_t child, std::span<const std::byte> payload) {
  auto gathered = decode_gathered(payload);
  if (!gathered || gathered->items.size() != subtree_size_of(child, port_.nranks())) return false;
  for (const RankedBytes& item : gathered->items) {
    if (item.rank >= port_.nranks() || !in_subtree_of(item.rank, child)) return false;
  }
  Operation* operation = accept_up(child, gathered->sequence, Kind::kGather);
  if (operation == nullptr) return false;
  for (RankedBytes& item : gathered->items) operation->items[item.rank] = std::move(item.bytes);
  advance(gathered->sequence);
  return true;
}

bool Gathering::on_agree_up(uint32_t child, std::span<const std::byte> payload) {
  const auto agreement = decode_agreement(payload);
  if (!agreement) return false;
  Operation* operation = accept_up(child, agreement->sequence, Kind::kCompare);
  if (operation == nullptr) return false;
  operation->equal &= agreement->equal;
  if (operation->begun) {
    operation->equal &= agreement->hash == operation->hash;
  } else {
    operation->hashes.push_back(agreement->hash);
  }
  advance(agreement->sequence);
  return true;
}

bool Gathering::complete(const Operation& operation) const {
  return operation.begun && operation.children.size() == child_count_of(port_.rank(), port_.nranks());
}

// Whether what this subtree contributes may travel; the limit is on the whole, whoever has how much of it.
bool Gathering::fits(const Operation& operation) {
  uint64_t bytes = 0;
  for (const auto& item : operation.items) bytes += item.second.size();
  if (bytes <= kGatheredBytes) return true;
  const auto most =
      std::max_element(operation.items.begin(), operation.items.end(),
                       [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  port_.declare_fault(
      port_.communicator(), Code::kInvalidArgument,
      fmt::format("ranks contribute {} bytes and more to one all-gather of initialisation, rank {} the "
                  "most with {}; {} in all are the limit",
                  bytes, most->first, most->second.size(), kGatheredBytes));
  return false;
}

void Gathering::advance(uint64_t sequence) {
  Operation& operation = open_[sequence];
  if (!complete(operation)) return;
  if (operation.kind == Kind::kCompare) {
    const Bytes payload = encode(Agreement{sequence, operation.equal, operation.hash});
    if (port_.rank() != 0) return port_.to_parent(MessageType::kAgreeUp, payload);
    on_agree_down(payload);
    return;
  }
  if (!fits(operation)) return;
  Gathered gathered;
  gathered.sequence = sequence;
  for (auto& item : operation.items) gathered.items.push_back({item.first, std::move(item.second)});
  operation.items.clear();
  const Bytes payload = encode(gathered);
  if (port_.rank() != 0) {
    port_.to_parent(MessageType::kGatherUp, payload);
  } else {
    finish_gather(payload, std::move(gathered));
  }
}

void Gathering::finish_gather(std::span<const std::byte> payload, Gathered gathered) {
  port_.to_children(MessageType::kGatherDown, payload);
  GatherResult result;
  for (RankedBytes& item : gathered.items) result.items.push_back(std::move(item.bytes));
  finished_ = gathered.sequence;
  open_.erase(gathered.sequence);
  done_(gathered.sequence, std::move(result));
}

bool Gathering::on_gather_down(std::span<const std::byte> payload) {
  auto gathered = decode_gathered(payload);
  if (!gathered || gathered->sequence != finished_ + 1 || gathered->sequence != begun_) return false;
  // Ascending, as the decoder saw; so as many as there are ranks, the last one in range, are all of them.
  if (gathered->items.size() != port_.nranks() || gathered->items.back().rank >= port_.nranks()) return false;
  finish_gather(payload, std::move(*gathered));
  return true;
}

bool Gathering::on_agree_down(std::span<const std::byte> payload) {
  const auto agreement = decode_agreement(payload);
  if (!agreement || agreement->sequence != finished_ + 1 || agreement->sequence != begun_) return false;
  port_.to_children(MessageType::kAgreeDown, payload);
  finished_ = agreement->sequence;
  open_.erase(agreement->sequence);
  done_(agreement->sequence, GatherResult{agreement->equal, 0, {}, {}});
  return true;
}

std::string Gathering::waiting_for(uint64_t sequence) const {
  const auto found = open_.find(sequence);
  if (found == open_.end()) return "nobody";
  std::string late;
  const uint64_t first = first_child_of(port_.rank());
  for (uint32_t i = 0; i < child_count_of(port_.rank(), port_.nranks()); ++i) {
    const auto child = static_cast<uint32_t>(first + i);
    if (!found->second.children.contains(child)) late += fmt::format("{}{}", late.empty() ? "" : ", ", child);
  }
  if (!late.empty()) return "rank " + late + " or a rank below in the control tree";
  return port_.rank() == 0 ? "nobody" : fmt::format("rank {} or a rank beyond it", parent_of(port_.rank()));
}

}  // namespace comity::control
