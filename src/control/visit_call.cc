#include "src/control/visit_call.h"

#include <utility>

namespace comity::control {

VisitCall::VisitCall(Loop& loop, const Visit& visit, uint64_t answer_within_ms, Done done)
    : loop_(loop), visit_(visit), answer_within_ms_(answer_within_ms), done_(std::move(done)) {}

std::shared_ptr<VisitCall> VisitCall::start(Loop& loop, ConnectTarget target, const Visit& visit, Done done) {
  std::shared_ptr<VisitCall> call(new VisitCall(loop, visit, target.per_address_ms, std::move(done)));
  call->connector_ =
      Connector::start(loop, std::move(target), [call](Result<StreamPtr> stream, Connector::Answer answer) {
        call->connector_.reset();
        if (stream.ok()) {
          call->on_connected(std::move(stream).value());
        } else {
          call->finish(stream.status(), answer == Connector::Answer::kStranger);
        }
      });
  return call;
}

void VisitCall::cancel() {
  done_ = nullptr;
  if (connector_) std::exchange(connector_, nullptr)->cancel();
  if (channel_) std::exchange(channel_, nullptr)->close();
  loop_.cancel(std::exchange(timer_, 0));
}

void VisitCall::finish(Result<Answer> answer, bool useless) {
  const Done done = std::exchange(done_, nullptr);
  cancel();
  if (done) done(std::move(answer), useless);
}

void VisitCall::on_connected(StreamPtr stream) {
  const auto self = shared_from_this();
  Channel::Events events;
  events.message = [self](uint16_t type, std::span<const std::byte> payload) {
    auto answer = decode_answer(payload);
    if (type == static_cast<uint16_t>(MessageType::kAnswer) && answer) {
      self->finish(std::move(*answer), false);
    } else {
      self->finish(Status(Code::kRemoteError, "the meeting point sent a malformed answer"), false);
    }
  };
  events.closed = [self](const std::string& why, bool) {
    self->finish(Status(Code::kRemoteError, "the meeting point did not answer: " + why), false);
  };
  channel_ = Channel::open(loop_, std::move(stream), kMeetingPayloadBytes, std::move(events));
  channel_->send(static_cast<uint16_t>(MessageType::kVisit), encode(visit_));
  timer_ = loop_.after_ms(answer_within_ms_, [self] {
    self->finish(Status(Code::kTimeout, "the meeting point did not answer in time"), false);
  });
}

}  // namespace comity::control
