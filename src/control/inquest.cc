#include "src/control/inquest.h"

#include <fmt/core.h>

#include "src/base/handshake.h"

namespace comity::control {
namespace {

std::string describe_opinion(const Opinion& opinion) {
  if (opinion.left) {
    return fmt::format("rank {} left the communicator after collective {}", opinion.rank,
                       opinion.record.number);
  }
  return fmt::format("rank {} called {}", opinion.rank, describe(opinion.record));
}

bool differ(const Opinion& a, const Opinion& b) {
  return a.left != b.left || (!a.left && a.record.signature != b.record.signature);
}

}  // namespace

std::string describe_difference(uint64_t number, const Opinion& a, const Opinion& b) {
  const Opinion& low = a.rank < b.rank ? a : b;
  const Opinion& high = a.rank < b.rank ? b : a;
  std::string text = fmt::format("ranks disagree on collective {}: {}, {}", number, describe_opinion(low),
                                 describe_opinion(high));
  if (!a.left && !b.left && describe(a.record) == describe(b.record)) {
    text +=
        "; the calls are alike but were planned differently: give all ranks the same settings and release";
  }
  return text;
}

void Inquest::stop() {
  for (const auto& window : windows_) loop_.cancel(window.second.timer);
  windows_.clear();
}

void Inquest::report(uint64_t number) {
  const auto found = windows_.find(number);
  if (found != windows_.end()) {
    found->second.again = true;
    return;
  }
  if (windows_.size() >= kOpenReports) return;  // a flood of numbers; those that matter are reported again
  pass_report(number);
}

void Inquest::pass_report(uint64_t number) {
  windows_[number] = Window{loop_.after_ms(kReportEveryMs, [this, number] { on_window_end(number); }), false};
  if (port_.has_parent()) {
    port_.to_parent(MessageType::kReport, encode(Inquiry{0, number}));
  } else {
    // Random: after the tree was cut, two roots may ask one after the other.
    ask(random_u64() | 1u, number);
  }
}

void Inquest::on_window_end(uint64_t number) {
  const auto found = windows_.find(number);
  if (found == windows_.end()) return;
  const bool again = found->second.again;
  windows_.erase(found);
  if (again) pass_report(number);
}

bool Inquest::on_report(std::span<const std::byte> payload) {
  const auto inquiry = decode_inquiry(payload);
  if (!inquiry) return false;
  report(inquiry->number);
  return true;
}

bool Inquest::on_ask(std::span<const std::byte> payload) {
  const auto inquiry = decode_inquiry(payload);
  if (!inquiry) return false;
  ask(inquiry->inquiry, inquiry->number);
  return true;
}

void Inquest::ask(uint64_t inquiry, uint64_t number) {
  if (open_.size() == kOpenInquiries) open_.pop_front();
  open_.push_back(Open{inquiry, number, std::nullopt, false});
  port_.to_children(MessageType::kAsk, encode(Inquiry{inquiry, number}));
  Open& open = open_.back();
  if (const auto own = own_opinion(open)) take(open, *own);
  for (const auto& gone : gone_) {
    if (gone.second >= number) continue;
    Opinion opinion;
    opinion.inquiry = inquiry;
    opinion.rank = gone.first;
    opinion.left = true;
    opinion.record.number = gone.second;
    take(open, opinion);
  }
}

std::optional<Opinion> Inquest::own_opinion(const Open& open) const {
  Opinion opinion;
  opinion.inquiry = open.inquiry;
  opinion.rank = port_.rank();
  if (const auto record = calls_.find(open.number)) {
    opinion.record = *record;
    return opinion;
  }
  if (!left_ || calls_.last_number() >= open.number) return std::nullopt;
  opinion.left = true;
  opinion.record.number = calls_.last_number();
  return opinion;
}

Inquest::Open* Inquest::find(uint64_t inquiry) {
  for (Open& open : open_) {
    if (open.inquiry == inquiry) return &open;
  }
  return nullptr;
}

bool Inquest::on_opinion(std::span<const std::byte> payload) {
  const auto opinion = decode_opinion(payload);
  if (!opinion || opinion->rank >= port_.nranks()) return false;
  Open* open = find(opinion->inquiry);
  if (open == nullptr) return true;  // of long ago
  const uint64_t number = opinion->record.number;
  if (opinion->left ? number >= open->number : number != open->number) return false;
  take(*open, *opinion);
  return true;
}

void Inquest::take(Open& open, const Opinion& opinion) {
  if (open.settled || (open.first && !differ(*open.first, opinion))) return;
  open.settled = open.first.has_value();
  if (port_.has_parent()) {
    port_.to_parent(MessageType::kOpinion, encode(opinion));
  } else if (open.settled) {
    port_.declare_fault(Code::kInvalidUsage, describe_difference(open.number, *open.first, opinion));
  }
  if (!open.first) open.first = opinion;
}

}  // namespace comity::control
