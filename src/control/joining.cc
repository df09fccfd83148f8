#include "src/control/joining.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/control/tree_shape.h"

namespace comity::control {
namespace {

constexpr uint64_t kRetryMs = 50;
constexpr uint64_t kRootAsksEveryMs = 100;
constexpr uint64_t kRefusedForNs = 3'000'000'000;  // refused for this long: nobody will listen there any more
constexpr uint64_t kSilentForNs = 8'000'000'000;   // no answer for this long: a firewall, or no route
constexpr int kLongestTimerMs = 24 * 3600 * 1000;
constexpr int kQuestionBeforeDeadlineMs = 400;
constexpr uint64_t kFarewellMs = 1000;

std::string text_of(const std::vector<SocketAddress>& addresses) {
  std::string text;
  for (const SocketAddress& address : addresses) text += (text.empty() ? "" : ", ") + address.text();
  return text;
}

// What of the meeting point's host and of this one was not tried.
std::string not_tried(uint64_t left_out, const Settings* settings) {
  std::string text;
  if (left_out > 0) {
    text = fmt::format(
        "; the unique id leaves out {} more address{} of its host: set COMITY_SOCKET_IFNAME where "
        "it is made",
        left_out, left_out == 1 ? "" : "es");
  }
  return text + interfaces_left_out(settings);
}

}  // namespace

Joining::Joining(Loop& loop, Options options, Events events)
    : loop_(loop), options_(std::move(options)), events_(std::move(events)), visitor_(loop.random_u64()) {}

std::shared_ptr<Joining> Joining::start(Loop& loop, Options options, Events events) {
  std::shared_ptr<Joining> joining(new Joining(loop, std::move(options), std::move(events)));
  const int left_ms = joining->options_.deadline.left_ms(kLongestTimerMs);
  if (left_ms < kLongestTimerMs) {
    const int before_ms = std::min(kQuestionBeforeDeadlineMs, left_ms / 4);
    joining->deadline_timer_ =
        loop.after_ms(static_cast<uint64_t>(left_ms), [joining] { joining->on_deadline(); });
    joining->question_timer_ = loop.after_ms(static_cast<uint64_t>(left_ms - before_ms), [joining] {
      if (joining->stage_ == Stage::kWaiting && !joining->call_) joining->visit(VisitPurpose::kStatus);
    });
  }
  joining->visit(VisitPurpose::kJoin);
  return joining;
}

ConnectTarget Joining::meeting_target() const {
  ConnectTarget target;
  target.addresses = options_.meeting;
  target.settings = options_.settings;
  target.secret = options_.secret;
  target.hello.role = SocketRole::kMeeting;
  target.hello.rank = options_.rank;
  target.hello.peer_rank = UINT32_MAX;
  target.hello.communicator = options_.communicator;
  // A host under load may be slow to answer: each failure doubles the patience.
  target.per_address_ms = uint64_t{1500} << std::min(failures_, 3u);
  return target;
}

Visit Joining::visit_of(VisitPurpose purpose) const {
  Visit visit;
  visit.purpose = purpose;
  visit.nranks = options_.nranks;
  visit.visitor = visitor_;
  if (purpose == VisitPurpose::kJoin) visit.addresses = options_.own;
  return visit;
}

void Joining::visit(VisitPurpose purpose) {
  step_timer_ = 0;
  call_ = VisitCall::start(loop_, meeting_target(), visit_of(purpose),
                           [self = shared_from_this(), purpose](const Result<Answer>& answer, bool useless) {
                             self->call_.reset();
                             self->on_answer(answer, useless, purpose);
                           });
}

void Joining::visit_after_ms(uint64_t ms, VisitPurpose purpose) {
  loop_.cancel(step_timer_);
  step_timer_ = loop_.after_ms(ms, [self = shared_from_this(), purpose] { self->visit(purpose); });
}

void Joining::on_answer(const Result<Answer>& answer, bool useless, VisitPurpose purpose) {
  const bool refused = answer.ok() && answer->kind == AnswerKind::kRefused;
  // Asked between two attempts at the parent: those go on, unless the meeting has failed.
  if (stage_ == Stage::kConnecting && !refused) return connect_parent();
  if (!answer.ok()) {
    // Only rank 0 must be able to ask: the others just want to name who is missing.
    if (purpose == VisitPurpose::kStatus && options_.rank != 0) return;
    if (!may_retry(answer.status(), useless)) {
      fail(Status(
               Code::kRemoteError,
               fmt::format(
                   "rank {} found no meeting point at {}: {}; is the process that made the unique id alive, "
                   "and the id from this run?{}",
                   options_.rank, text_of(options_.meeting), last_failure_,
                   not_tried(options_.left_out, options_.settings.get()))),
           false);
    } else {
      visit_after_ms(kRetryMs, purpose);
    }
    return;
  }
  failures_ = 0;
  failing_since_ns_ = 0;
  if (refused) {
    const Code code = answer->code == Code::kSuccess ? Code::kRemoteError : answer->code;
    return fail(Status(code, answer->text), false);
  }
  missing_ = answer->missing;
  if (answer->kind == AnswerKind::kParent) {
    on_parent_known(answer->addresses);
  } else if (answer->kind == AnswerKind::kComeBack) {
    visit_after_ms(std::clamp<uint64_t>(answer->come_back_ms, 1, 1000), VisitPurpose::kJoin);
  } else if (options_.rank == 0) {
    visit_after_ms(kRootAsksEveryMs, VisitPurpose::kStatus);
  }
}

bool Joining::may_retry(const Status& failure, bool useless) {
  last_failure_ = std::string(failure.message());
  ++failures_;
  if (useless) return false;
  const uint64_t now = loop_.now_ns();
  if (failing_since_ns_ == 0) failing_since_ns_ = now;
  const bool silent = failure.code() == Code::kTimeout;
  if (silent && stage_ == Stage::kVisiting) return true;  // to the deadline: the creator may be slow to begin
  return now - failing_since_ns_ < (silent ? kSilentForNs : kRefusedForNs);
}

void Joining::on_parent_known(std::vector<SocketAddress> addresses) {
  if (options_.rank == 0) return wait_for_all();
  parent_ = std::move(addresses);
  stage_ = Stage::kConnecting;
  connect_parent();
}

void Joining::connect_parent() {
  ConnectTarget target = meeting_target();
  target.addresses = parent_;
  target.hello.role = SocketRole::kTree;
  target.hello.peer_rank = parent_of(options_.rank);
  const auto self = shared_from_this();
  connector_ =
      Connector::start(loop_, std::move(target), [self](Result<StreamPtr> stream, Connector::Answer answer) {
        self->connector_.reset();
        if (stream.ok()) {
          self->failures_ = 0;
          self->failing_since_ns_ = 0;
          self->wait_for_all();
          // A copy: the callback may end this joining, which drops the functions.
          const auto parent = self->events_.parent;
          if (parent) parent(std::move(stream).value());
        } else if (self->may_retry(stream.status(), answer == Connector::Answer::kStranger)) {
          self->visit_after_ms(kRetryMs, VisitPurpose::kStatus);  // did it give up?
        } else {
          self->fail(
              Status(Code::kRemoteError,
                     fmt::format(
                         "rank {} cannot reach its parent in the control tree, rank {}, which gave up or "
                         "died: {}",
                         self->options_.rank, parent_of(self->options_.rank), self->last_failure_)),
              true);
        }
      });
}

void Joining::wait_for_all() {
  stage_ = Stage::kWaiting;
  if (options_.rank == 0) visit_after_ms(kRootAsksEveryMs, VisitPurpose::kStatus);
}

void Joining::on_deadline() {
  std::string why;
  if (!missing_.empty()) {
    why = fmt::format("not all ranks came; missing ranks: {}; start them, or raise COMITY_INIT_TIMEOUT_MS",
                      missing_);
  } else if (stage_ == Stage::kVisiting) {
    why =
        fmt::format("the meeting point at {} was not reached: {}; check COMITY_SOCKET_IFNAME and firewalls{}",
                    text_of(options_.meeting), last_failure_.empty() ? "no answer" : last_failure_,
                    not_tried(options_.left_out, options_.settings.get()));
  } else if (stage_ == Stage::kConnecting) {
    why = fmt::format(
        "its parent rank {} at {} was not reached: {}; check COMITY_SOCKET_IFNAME and firewalls",
        parent_of(options_.rank), text_of(parent_), last_failure_.empty() ? "no answer" : last_failure_);
  } else {
    why = "all ranks came, but not all are connected yet; raise COMITY_INIT_TIMEOUT_MS";
  }
  fail(Status(Code::kTimeout, fmt::format("rank {} of {} waited for the others until its deadline: {}",
                                          options_.rank, options_.nranks, why)),
       true);
}

void Joining::complete() {
  if (stage_ == Stage::kOver) return;
  end();
  if (options_.rank == 0) VisitCall::start(loop_, meeting_target(), visit_of(VisitPurpose::kDone), {});
}

void Joining::stop(const Status& why, bool tell) {
  if (stage_ == Stage::kOver) return;
  end();
  if (!tell) return;
  // Also where it has not come yet: the others would wait for it. The meeting waits for this at its own end.
  loop_.hold();
  say_farewell(why, [&loop = loop_](const Result<Answer>&, bool) { loop.release(); });
}

std::shared_ptr<VisitCall> Joining::say_farewell(const Status& why, VisitCall::Done done) {
  Visit farewell = visit_of(VisitPurpose::kGiveUp);
  farewell.code = why.code();
  farewell.text = std::string(why.message());
  ConnectTarget target = meeting_target();
  target.per_address_ms = kFarewellMs;
  return VisitCall::start(loop_, std::move(target), farewell, std::move(done));
}

void Joining::fail(const Status& why, bool tell) {
  if (stage_ == Stage::kFailing || stage_ == Stage::kOver) return;
  const auto self = shared_from_this();
  const bool came = stage_ != Stage::kVisiting || !missing_.empty();
  stop_steps();
  stage_ = Stage::kFailing;
  const auto conclude = [self](const Status& reason) {
    const auto failed = self->events_.failed;
    self->end();
    if (failed) failed(reason);
  };
  if (!tell || !came) return conclude(why);
  call_ = say_farewell(why, [self, why, conclude](const Result<Answer>& answer, bool) {
    self->call_.reset();
    const bool told = answer.ok() && answer->kind == AnswerKind::kRefused && answer->code != Code::kSuccess;
    conclude(told ? Status(answer->code, answer->text) : why);
  });
}

void Joining::stop_steps() {
  if (call_) std::exchange(call_, nullptr)->cancel();
  if (connector_) std::exchange(connector_, nullptr)->cancel();
  for (uint64_t* timer : {&step_timer_, &question_timer_, &deadline_timer_})
    loop_.cancel(std::exchange(*timer, 0));
}

void Joining::end() {
  stage_ = Stage::kOver;
  events_ = {};
  stop_steps();
}

}  // namespace comity::control
