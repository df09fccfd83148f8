#include "src/control/inquest.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/handshake.h"
#include "src/control/scope.h"

namespace comity::control {
namespace {

std::string describe_opinion(const Opinion& opinion) {
  const std::string name = name_of_rank(opinion.rank, opinion.member);
  if (opinion.standing == Standing::kCalled)
    return fmt::format("{} called {}", name, describe(opinion.record));
  const char* how = opinion.standing == Standing::kLeft ? "left the communicator" : "made its last call";
  return fmt::format("{} {} after collective {}", name, how, opinion.record.number);
}

bool differ(const Opinion& a, const Opinion& b) {
  const bool called = a.standing == Standing::kCalled;
  if (called != (b.standing == Standing::kCalled)) return true;
  return called && a.record.signature != b.record.signature;
}

}  // namespace

std::string describe_difference(const Opinion& a, const Opinion& b) {
  const Opinion& low = a.rank < b.rank ? a : b;
  const Opinion& high = a.rank < b.rank ? b : a;
  std::string text = fmt::format("ranks disagree on collective {}: {}, {}", a.number, describe_opinion(low),
                                 describe_opinion(high));
  const bool both_called = a.standing == Standing::kCalled && b.standing == Standing::kCalled;
  if (both_called && describe(a.record) == describe(b.record)) {
    text +=
        "; the calls are alike but were planned differently: give all ranks the same settings and release";
  }
  return text;
}

void Inquest::stop() {
  for (const auto& window : windows_) loop_.cancel(window.second.timer);
  windows_.clear();
}

void Inquest::forget(uint64_t communicator) {
  const auto window = windows_.find(communicator);
  if (window != windows_.end()) {
    loop_.cancel(window->second.timer);
    windows_.erase(window);
  }
  std::erase_if(open_, [&](const Open& open) { return open.inquiry.communicator == communicator; });
}

void Inquest::report(uint64_t communicator, uint64_t first, uint64_t last) {
  const auto found = windows_.find(communicator);
  if (found == windows_.end()) {
    // In a flood of communicators those that matter are reported again.
    if (windows_.size() < kOpenReports) pass_report(communicator, first, last);
    return;
  }
  Window& window = found->second;
  if (window.first == 0) window = Window{window.timer, first, last};
  window.last = std::max(window.last, last);
  window.first = std::max(std::min(window.first, first),
                          window.last >= kMostAsked ? window.last - kMostAsked + 1 : uint64_t{1});
}

void Inquest::pass_report(uint64_t communicator, uint64_t first, uint64_t last) {
  windows_[communicator].timer =
      loop_.after_ms(kReportEveryMs, [this, communicator] { on_window_end(communicator); });
  if (port_.has_parent()) {
    port_.to_parent(MessageType::kReport, encode(Inquiry{0, communicator, first, last}));
  } else {
    // Random: after the tree was cut, two roots may ask one after the other.
    ask(Inquiry{loop_.random_u64() | 1u, communicator, first, last});
  }
}

void Inquest::on_window_end(uint64_t communicator) {
  const auto found = windows_.find(communicator);
  if (found == windows_.end()) return;
  const Window window = found->second;
  windows_.erase(found);
  if (window.first != 0) pass_report(communicator, window.first, window.last);
}

bool Inquest::on_report(std::span<const std::byte> payload) {
  const auto inquiry = decode_inquiry(payload);
  if (!inquiry) return false;
  report(inquiry->communicator, inquiry->first, inquiry->last);
  return true;
}

bool Inquest::on_ask(std::span<const std::byte> payload) {
  const auto inquiry = decode_inquiry(payload);
  if (!inquiry) return false;
  ask(*inquiry);
  return true;
}

void Inquest::ask(const Inquiry& inquiry) {
  if (open_.size() == kOpenInquiries) open_.pop_front();
  open_.push_back(Open{inquiry, {}});
  port_.to_children(MessageType::kAsk, encode(inquiry));
  Open& open = open_.back();
  std::vector<Opinion> own = port_.opinions_on(inquiry);
  const std::vector<Opinion> others = for_the_gone(inquiry);
  own.insert(own.end(), others.begin(), others.end());
  std::stable_sort(own.begin(), own.end(),
                   [](const Opinion& a, const Opinion& b) { return a.number < b.number; });
  take(open, own);
}

std::vector<Opinion> Inquest::for_the_gone(const Inquiry& inquiry) const {
  std::vector<Opinion> opinions;
  for (const auto& [member, leaving] : gone_) {
    for (const Left& left : leaving.left) {
      if (left.communicator != inquiry.communicator) continue;
      for (uint64_t number = std::max(inquiry.first, left.last_number + 1); number <= inquiry.last;
           ++number) {
        Opinion opinion{number, left.rank, member, Standing::kLeft, {}};
        opinion.record.number = left.last_number;
        opinions.push_back(opinion);
      }
    }
  }
  return opinions;
}

Inquest::Open* Inquest::find(uint64_t inquiry) {
  for (Open& open : open_) {
    if (open.inquiry.inquiry == inquiry) return &open;
  }
  return nullptr;
}

bool Inquest::on_opinions(std::span<const std::byte> payload) {
  const auto opinions = decode_opinions(payload);
  if (!opinions) return false;
  Open* open = find(opinions->inquiry);
  if (open == nullptr) return true;  // of long ago
  for (const Opinion& opinion : opinions->opinions) {
    if (opinion.member >= port_.nranks() || opinion.number < open->inquiry.first ||
        opinion.number > open->inquiry.last) {
      return false;
    }
  }
  take(*open, opinions->opinions);
  return true;
}

// What is news of these goes up as one message; at the root the first difference is the fault.
void Inquest::take(Open& open, const std::vector<Opinion>& opinions) {
  Opinions news{open.inquiry.inquiry, {}};
  const Inquiry inquiry = open.inquiry;
  for (const Opinion& opinion : opinions) {
    const auto [heard, is_first] = open.heard.try_emplace(opinion.number, Heard{opinion, false});
    if (!is_first && (heard->second.settled || !differ(heard->second.first, opinion))) continue;
    news.opinions.push_back(opinion);
    if (is_first) continue;
    heard->second.settled = true;
    if (port_.has_parent()) continue;
    // Last, as it may end this inquiry.
    return port_.declare_fault(inquiry.communicator, Code::kInvalidUsage,
                               describe_difference(heard->second.first, opinion));
  }
  if (!news.opinions.empty() && port_.has_parent()) port_.to_parent(MessageType::kOpinion, encode(news));
}

}  // namespace comity::control
