#include "src/control/descriptor_fetch.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "src/base/errno_text.h"
#include "src/base/socket.h"

namespace comity::control {
namespace {

constexpr uint64_t kTryAgainForNs = 1'000'000'000;
constexpr uint64_t kTryAfterNs = 10'000'000;

}  // namespace

Result<std::optional<UniqueFd>> DescriptorFetch::poll() {
  if (request_.deadline.passed())
    return Status(Code::kTimeout, "the process that owns the memory did not answer in time");
  Result<bool> done = connect();
  if (done.ok() && *done) done = prove();
  if (done.ok() && *done) done = receive();
  if (!done.ok() && !again(done.status())) return done.status();
  if (!done.ok() || !*done) return std::optional<UniqueFd>();
  return std::optional(std::move(descriptor_));
}

bool DescriptorFetch::again(const Status& status) {
  const bool stranger = handshake_.has_value() && !proven_ && handshake_->met_stranger();
  const uint64_t now = now_ns();
  if (failing_since_ns_ == 0) failing_since_ns_ = now;
  if (stranger || answered_ || status.code() != Code::kRemoteError ||
      now - failing_since_ns_ > kTryAgainForNs)
    return false;
  handshake_.reset();
  fd_.reset();
  proven_ = false;
  next_try_ns_ = now + kTryAfterNs;
  return true;
}

Result<bool> DescriptorFetch::connect() {
  if (handshake_.has_value()) return true;
  if (now_ns() < next_try_ns_) return false;
  COMITY_ASSIGN_OR_RETURN(const UnixAddress address, abstract_address(request_.socket_name));
  if (!fd_.valid()) {
    COMITY_ASSIGN_OR_RETURN(fd_, unix_socket());
  }
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) {
    if (errno == EAGAIN || errno == EINTR) return false;  // its queue is full
    return Status(errno == ECONNREFUSED ? Code::kRemoteError : Code::kSystemError,
                  fmt::format("cannot reach the process that owns the memory: {} (it ended, or is in another "
                              "network namespace)",
                              errno_text(errno)));
  }
  HandshakeHello hello;
  hello.role = SocketRole::kDescriptor;
  hello.peer_rank = UINT32_MAX;
  hello.communicator = request_.communicator;
  handshake_.emplace(Handshake::initiate(fd_.get(), request_.secret, hello, Deadline::never()));
  return true;
}

Result<bool> DescriptorFetch::prove() {
  if (proven_) return true;
  COMITY_ASSIGN_OR_RETURN(const Handshake::State state, handshake_->poll());
  if (state != Handshake::State::kDone) return false;
  const Bytes request = encode(request_.arenas);
  // Some hundred bytes into an empty socket: all or an error.
  const ssize_t sent = ::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(request.size()))
    return Status(Code::kRemoteError, fmt::format("the owner of the memory: {}", errno_text(errno)));
  proven_ = true;
  answer_.clear();
  return true;
}

Result<bool> DescriptorFetch::receive() {
  for (;;) {
    std::array<std::byte, kMaxAnswerBytes> buffer;
    const ssize_t n = receive_with_descriptor(fd_.get(), buffer, descriptor_);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n < 0)
      return Status(Code::kRemoteError, fmt::format("the owner of the memory: {}", errno_text(errno)));
    if (n == 0) break;
    answer_.insert(answer_.end(), buffer.begin(), buffer.begin() + n);
    if (answer_.size() > kMaxAnswerBytes)
      return Status(Code::kRemoteError, "the owner's answer is malformed");
  }
  if (answer_.empty())
    return Status(Code::kRemoteError, "the process that owns the memory closed the connection");
  answered_ = true;
  COMITY_ASSIGN_OR_RETURN(ArenaAnswer answer, decode_arena_answer(answer_));
  COMITY_RETURN_IF_ERROR(answer.status);
  gone_ = std::move(answer.gone);
  if (descriptor_.valid()) return true;
  return Status(Code::kSystemError,
                "the owner's descriptor did not arrive; this process has too many open (ulimit -n)");
}

void DescriptorFetch::wait(int limit_ms) const {
  // Until there is a connection, only time helps.
  pollfd waiting{handshake_.has_value() ? fd_.get() : -1, POLLIN, 0};
  if (handshake_.has_value() && !proven_) waiting.events = handshake_->poll_events();
  const int most_ms =
      handshake_.has_value() ? limit_ms : std::min(limit_ms, static_cast<int>(kTryAfterNs / 1'000'000u));
  ::poll(&waiting, 1, request_.deadline.left_ms(most_ms));
}

Result<UniqueFd> fetch_descriptor(DescriptorRequest request) {
  DescriptorFetch fetch(std::move(request));
  for (;;) {
    COMITY_ASSIGN_OR_RETURN(std::optional<UniqueFd> descriptor, fetch.poll());
    if (descriptor.has_value()) return std::move(*descriptor);
    fetch.wait(100);
  }
}

}  // namespace comity::control
