// Whom a call waits for, and whether anyone got on: what a Driver asks of a call that is silent.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "src/base/log.h"
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

std::string Executor::awaited() const {
  std::vector<uint32_t> to_send, to_receive;
  for (const Link* link : binding_->links) {
    if (link->awaits_bytes()) to_send.push_back(link->peer());
    if (link->awaits_taking()) to_receive.push_back(link->peer());
  }
  std::string words = joined(in_words(to_send, "to send"), in_words(to_receive, "to receive"));
  if (provider_ != nullptr) words = joined(std::move(words), in_words(*provider_));
  return awaits_device() ? joined(std::move(words), "its device") : words;
}

std::string Exchange::awaited() const {
  std::vector<uint32_t> to_send, to_receive;
  for (const Stream* stream : active_) {
    if (stream->next == kNone && stream->whole == 0) continue;
    (stream->sends() ? to_receive : to_send).push_back(stream->peer());
  }
  std::string words = joined(in_words(to_send, "to send"), in_words(to_receive, "to receive"));
  return self_.empty() ? words : joined(std::move(words), "its device");
}

std::vector<control::WaitingFor::Exchange> Exchange::incomplete(std::span<const PairCounts> before) const {
  std::vector<control::WaitingFor::Exchange> found;
  for (const Stream* stream : active_) {
    const PairCounts& made = before[stream->peer()];
    uint64_t all = 0, left = stream->whole;
    for (const PointToPoint& message : messages_)
      all += message.peer == stream->peer() && message.sends == stream->sends() ? 1 : 0;
    for (uint32_t index = stream->next; index != kNone; index = following_[index]) ++left;
    const uint64_t complete = (stream->sends() ? made.sends : made.receives) + all - left;
    for (uint64_t i = 1; i <= left; ++i) found.push_back({stream->peer(), stream->sends(), complete + i});
  }
  return found;
}

void Communicator::report_silence() {
  Oversight* oversight = options_.oversight;
  if (oversight == nullptr || !in_flight_) return;
  std::vector<PairCounts> begun = pair_counts_;
  std::vector<control::WaitingFor::Exchange> incomplete;
  if (exchanges()) {
    incomplete = exchange_->incomplete(pair_counts_);
    count(exchanged_, begun);
  } else {
    oversight->report(number_);
  }
  silence_reported_ = true;
  oversight->report_waiting(exchanges() ? 0 : number_, std::move(incomplete), used(begun));
}

void Communicator::take_silence_back() {
  silence_reported_ = false;
  options_.oversight->waiting_over();
}

// The call, and whom it waits for and for what.
std::pair<std::string, std::string> Communicator::call_in_words() const {
  std::string awaited = alone_ != nullptr     ? in_words(*alone_)
                        : binding_ != nullptr ? executor_.awaited()
                        : exchanges()         ? exchange_->awaited()
                                              : "";
  if (awaited.empty()) awaited = "ranks that it does not speak to itself";
  std::string what = exchanges() ? "an exchange of messages" : fmt::format("collective {}", number_);
  return {std::move(what), std::move(awaited)};
}

void Communicator::warn_of_silence(uint64_t silent_ns) const {
  const auto [what, awaited] = call_in_words();
  COMITY_LOG_WARN("rank {}: {} has got no further for {} s; it waits for {} (COMITY_TIMEOUT ends such waits)",
                  options_.rank, what, silent_ns / 1'000'000'000u, awaited);
}

Status Communicator::timed_out() const {
  const auto [what, awaited] = call_in_words();
  const std::string within = patience_ns_ == 0
                                 ? fmt::format("COMITY_TIMEOUT ({} s)", options_.timeout_ns / 1'000'000'000u)
                                 : fmt::format("the {} ms that it had", patience_ns_ / 1'000'000u);
  return Status(Code::kTimeout, fmt::format("rank {}: {} got no further within {}; it waits for {}",
                                            options_.rank, what, within, awaited));
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
