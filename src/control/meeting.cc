#include "src/control/meeting.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "src/base/log.h"
#include "src/control/rank_list.h"
#include "src/control/tree_shape.h"
#include "src/control/unique_id.h"

namespace comity::control {
namespace {

constexpr uint64_t kVisitWithinMs = 5000;
constexpr uint64_t kCloseAfterFailureMs = 60'000;
constexpr uint64_t kEndAfterFailureMs = 5000;  // the user waits
constexpr uint64_t kCloseAfterAllCameMs = 120'000;
constexpr uint64_t kMissingKeptNs = 20'000'000;  // writing the list is O(ranks): not once per visit

// Visitors come back at most four times per ms in all, whatever the number of ranks.
uint32_t come_back_ms_for(uint32_t nranks) {
  return std::clamp(nranks / 4, 4u, 1000u);
}

// Of one process.
struct Meetings {
  std::map<uint64_t, std::shared_ptr<Meeting>> by_communicator;
  bool told_of_end = false;
};

std::shared_ptr<Meeting> find(Loop& loop, uint64_t communicator) {
  const auto& all = loop.part<Meetings>().by_communicator;
  const auto found = all.find(communicator);
  return found == all.end() ? nullptr : found->second;
}

void on_end_of_process(Loop& loop) {
  const auto all = loop.part<Meetings>().by_communicator;  // a copy: meetings close
  for (const auto& [communicator, meeting] : all) meeting->on_end();
}

}  // namespace

Answer MeetingBook::refuse(Code code, std::string text) const {
  Answer answer;
  answer.kind = AnswerKind::kRefused;
  answer.code = code;
  answer.text = std::move(text);
  return answer;
}

Answer MeetingBook::fail(Code code, std::string text) {
  if (failure_.ok()) failure_ = Status(code, std::move(text));
  return refuse(failure_.code(), std::string(failure_.message()));
}

bool MeetingBook::all_who_came_told() const {
  return std::all_of(members_.begin(), members_.end(),
                     [this](const auto& member) { return told_.contains(member.first); });
}

const std::string& MeetingBook::missing() {
  const uint64_t now = clock_.now_ns();
  const bool may_be_old = nranks_ > 256 && now - missing_at_ns_ < kMissingKeptNs && !all_came();
  if (missing_as_of_ == members_.size() || (may_be_old && missing_as_of_ != SIZE_MAX)) return missing_;
  std::vector<bool> present(nranks_, false);
  for (const auto& member : members_) present[member.first] = true;
  missing_ = list_absent(present);
  if (!missing_.empty()) missing_ += fmt::format(" of {}", nranks_);
  missing_as_of_ = members_.size();
  missing_at_ns_ = now;
  return missing_;
}

Answer MeetingBook::answer(uint32_t rank, const Visit& visit) {
  if (failure_.ok()) {
    const Answer answer = answer_while_well(rank, visit);
    if (failure_.ok()) return answer;
  }
  if (rank < nranks_) told_.insert(rank);
  return refuse(failure_.code(), std::string(failure_.message()));
}

Answer MeetingBook::answer_while_well(uint32_t rank, const Visit& visit) {
  switch (visit.purpose) {
    case VisitPurpose::kJoin:
      return answer_join(rank, visit);
    case VisitPurpose::kGiveUp:
      if (nranks_ == 0) nranks_ = visit.nranks;
      return fail(visit.code == Code::kSuccess ? Code::kRemoteError : visit.code, visit.text);
    case VisitPurpose::kStatus:
    case VisitPurpose::kDone:
      break;
  }
  Answer answer;
  answer.missing = missing();
  return answer;
}

Answer MeetingBook::answer_join(uint32_t rank, const Visit& visit) {
  if (nranks_ != 0 && visit.nranks != nranks_) {
    return fail(Code::kInvalidArgument,
                fmt::format("ranks disagree on the number of ranks: rank {} says {}, rank {} says {}",
                            nranks_from_, nranks_, rank, visit.nranks));
  }
  if (visit.nranks == 0 || visit.nranks > kMaxRanks || rank >= visit.nranks) {
    return refuse(Code::kInvalidArgument, fmt::format("rank {} of {} ranks cannot be", rank, visit.nranks));
  }
  if (nranks_ == 0) nranks_from_ = rank;
  nranks_ = visit.nranks;
  const auto [member, is_new] = members_.try_emplace(rank, Member{visit.visitor, visit.addresses});
  if (!is_new && member->second.visitor != visit.visitor) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("rank {} of {} was given twice: two callers joined with that number", rank, nranks_));
  }
  Answer answer;
  answer.missing = missing();
  answer.kind = AnswerKind::kParent;
  if (rank == 0) return answer;
  const auto parent = members_.find(parent_of(rank));
  if (parent != members_.end()) {
    answer.addresses = parent->second.addresses;
  } else {
    answer.kind = AnswerKind::kComeBack;
    answer.come_back_ms = come_back_ms_for(nranks_);
  }
  return answer;
}

Meeting::Meeting(Loop& loop, const Secret& secret)
    : loop_(loop), secret_(secret), communicator_(communicator_id_of(secret)), book_(loop) {}

void Meeting::open(Loop& loop, std::vector<ListenerPtr> listeners, const Secret& secret) {
  std::shared_ptr<Meeting> meeting(new Meeting(loop, secret));
  Meetings& all = loop.part<Meetings>();
  all.by_communicator[meeting->communicator_] = meeting;
  if (!std::exchange(all.told_of_end, true)) loop.at_end([&loop] { on_end_of_process(loop); });
  meeting->acceptor_ = Acceptor::open(
      loop, std::move(listeners), [meeting](const HandshakeHello&) { return &meeting->secret_; },
      [meeting](StreamPtr stream, const HandshakeHello& hello) {
        meeting->on_proven(std::move(stream), hello);
      });
}

void Meeting::close_if_here(Loop& loop, uint64_t communicator) {
  if (const auto meeting = find(loop, communicator)) meeting->close();
}

void Meeting::abandon_if_here(Loop& loop, uint64_t communicator) {
  if (const auto meeting = find(loop, communicator)) meeting->abandoned_ = true;
}

// Whether the end of the process waits for ranks that were not told yet.
bool Meeting::need_stay() const {
  return book_.failed() && !book_.all_told() && !(abandoned_ && book_.all_who_came_told());
}

void Meeting::close() {
  loop_.cancel(std::exchange(close_timer_, 0));
  if (acceptor_) std::exchange(acceptor_, nullptr)->close();
  if (std::exchange(failed_at_ns_, 0) != 0) loop_.release();
  loop_.part<Meetings>().by_communicator.erase(communicator_);
}

void Meeting::on_end() {
  if (failed_at_ns_ == 0) return;
  if (!need_stay()) return close();
  const uint64_t since_ms = (loop_.now_ns() - failed_at_ns_) / 1'000'000u;
  close_in_ms(kEndAfterFailureMs - std::min(since_ms, kEndAfterFailureMs));
}

void Meeting::close_in_ms(uint64_t ms) {
  if (!acceptor_) return;
  loop_.cancel(close_timer_);
  close_timer_ = loop_.after_ms(ms, [self = shared_from_this()] { self->close(); });
}

void Meeting::on_proven(StreamPtr stream, const HandshakeHello& hello) {
  if (hello.role != SocketRole::kMeeting) return;
  const auto self = shared_from_this();
  struct Visitor {
    std::shared_ptr<Channel> channel;
    uint64_t timer = 0;
  };
  const auto visitor = std::make_shared<Visitor>();
  Channel::Events events;
  events.message = [self, visitor, rank = hello.rank](uint16_t type, std::span<const std::byte> payload) {
    self->loop_.cancel(visitor->timer);
    const auto channel = std::exchange(visitor->channel, nullptr);
    if (!channel) return;
    const auto visit = decode_visit(payload);
    if (type == static_cast<uint16_t>(MessageType::kVisit) && visit) {
      self->on_visit(rank, *visit, *channel);
    } else {
      channel->close();
    }
  };
  events.closed = [self, visitor](const std::string&, bool) {
    self->loop_.cancel(visitor->timer);
    visitor->channel.reset();
  };
  visitor->channel = Channel::open(loop_, std::move(stream), kMeetingPayloadBytes, std::move(events));
  visitor->timer = loop_.after_ms(kVisitWithinMs, [visitor] {
    if (visitor->channel) std::exchange(visitor->channel, nullptr)->close();
  });
}

void Meeting::on_visit(uint32_t rank, const Visit& visit, Channel& channel) {
  const bool had_failed = book_.failed();
  const bool had_all = book_.all_came();
  const Answer answer = book_.answer(rank, visit);
  channel.send(static_cast<uint16_t>(MessageType::kAnswer), encode(answer));
  channel.close_after_flush();
  if (visit.purpose == VisitPurpose::kDone && rank == 0) {
    close();
  } else if (!had_failed && book_.failed() && acceptor_) {  // else it has closed, and holds nothing
    COMITY_LOG_WARN("the meeting of communicator {:016x} failed: {}", communicator_,
                    answer.kind == AnswerKind::kRefused ? answer.text : visit.text);
    failed_at_ns_ = loop_.now_ns();
    loop_.hold();
    close_in_ms(kCloseAfterFailureMs);
  } else if (!had_all && book_.all_came() && !book_.failed()) {
    close_in_ms(kCloseAfterAllCameMs);
  }
  if (loop_.ending() && book_.failed() && !need_stay()) close();
}

}  // namespace comity::control
