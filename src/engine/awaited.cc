// Whom a call waits for, and whether anyone got on: what a Driver asks of a call that is silent.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/engine/communicator.h"

namespace comity::engine {
namespace {

constexpr size_t kMostNamed = 16;

// "rank 3 to send"; empty for nobody.
std::string in_words(const std::vector<uint32_t>& ranks, std::string_view what) {
  if (ranks.empty()) return {};
  std::string words = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < std::min(ranks.size(), kMostNamed); ++i)
    words += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
  if (ranks.size() > kMostNamed) words += fmt::format(" and {} more", ranks.size() - kMostNamed);
  return fmt::format("{} {}", words, what);
}

std::string joined(std::string one, const std::string& other) {
  if (one.empty() || other.empty()) return one + other;
  return one + " and for " + other;
}

std::string in_words(const GroupProvider& provider) {
  const Awaited awaited = provider.awaited();
  return in_words(awaited.ranks, awaited.what);
}

}  // namespace

bool Link::awaits_bytes() const {
  return std::any_of(rx_.begin(), rx_.end(), [](const LaneRx& rx) { return !rx.posted.empty(); });
}

bool Link::awaits_taking() const {
  return std::any_of(tx_.begin(), tx_.end(), [](const LaneTx& tx) { return !tx.posted.empty(); });
}

std::string Executor::awaited() const {
  std::vector<uint32_t> to_send, to_receive;
  for (const Link* link : binding_->links) {
    if (link->awaits_bytes()) to_send.push_back(link->peer());
    if (link->awaits_taking()) to_receive.push_back(link->peer());
  }
  std::string words = joined(in_words(to_send, "to send"), in_words(to_receive, "to receive"));
  if (provider_ != nullptr) words = joined(std::move(words), in_words(*provider_));
  return tokens_.empty() ? words : joined(std::move(words), "its device");
}

Status Communicator::timed_out() const {
  std::string awaited = alone_ != nullptr     ? in_words(*alone_)
                        : binding_ != nullptr ? executor_.awaited()
                                              : "";
  if (awaited.empty()) awaited = "ranks that it does not speak to itself";
  return Status(
      Code::kTimeout,
      fmt::format("rank {}: collective {} got no further within COMITY_TIMEOUT ({} s); it waits for {}",
                  options_.rank, number_, options_.timeout_ns / 1'000'000'000u, awaited));
}

uint64_t Communicator::mark() const {
  if (alone_ != nullptr) return alone_->mark();
  uint64_t mark = 0;
  if (binding_ == nullptr) return mark;
  for (const BoundGroup& group : binding_->groups) {
    if (group.provider != nullptr) mark += group.provider->mark();
  }
  return mark;
}

void Communicator::tell_progress() {
  if (alone_ != nullptr) return alone_->tell_progress();
  if (binding_ == nullptr) return;
  for (const BoundGroup& group : binding_->groups) {
    if (group.provider != nullptr) group.provider->tell_progress();
  }
}

}  // namespace comity::engine
