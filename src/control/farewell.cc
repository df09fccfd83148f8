#include "src/control/farewell.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "src/base/handshake.h"
#include "src/base/socket.h"
#include "src/control/messages.h"

namespace comity::control {
namespace {

constexpr uint64_t kAnswerWithinMs = 1000;
constexpr size_t kHeaderBytes = 8;  // of a channel's frame: length 4, type 2, zero 2

bool await(int fd, short events, const Deadline& deadline) {
  pollfd waiting{fd, events, 0};
  if (deadline.passed()) return false;
  ::poll(&waiting, 1, deadline.left_ms(100));
  return true;
}

struct Proof {
  bool given = false;
  bool by_stranger = false;  // who is there belongs to something else
  bool refused = false;      // nobody is
  bool silent = false;       // who is there takes connections, and says nothing
  std::string why;
};

// Of a socket that still has no answer.
bool is_connected(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
}

Proof prove(int fd, const IdContent& id, uint32_t rank, const Deadline& deadline) {
  HandshakeHello hello;
  hello.role = SocketRole::kMeeting;
  hello.rank = rank;
  hello.peer_rank = UINT32_MAX;
  hello.communicator = communicator_id_of(id.secret);
  Handshake handshake = Handshake::initiate(fd, id.secret, hello, deadline);
  Proof proof;
  while (true) {
    const auto state = handshake.poll();
    if (state.ok() && *state == Handshake::State::kDone) {
      proof.given = true;
      return proof;
    }
    const bool late = !state.ok() && state.status().code() == Code::kTimeout;
    if (!state.ok() && !late) {
      const int error = handshake.socket_error();
      const bool hung_up = error == ECONNRESET || error == EPIPE;
      proof.by_stranger = handshake.met_stranger() || hung_up;
      proof.refused = error == ECONNREFUSED;
      proof.why = std::string(state.status().message());
      return proof;
    }
    if (!late && await(fd, handshake.poll_events(), deadline)) continue;
    proof.silent = is_connected(fd);
    proof.why = proof.silent ? "it takes connections and says nothing" : "no answer";
    return proof;
  }
}

bool send_all(int fd, const Bytes& bytes, const Deadline& deadline) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (errno != EINTR && (errno != EAGAIN || !await(fd, POLLOUT, deadline))) {
      return false;
    }
  }
  return true;
}

// Exactly `size` bytes, or nothing.
std::optional<Bytes> receive(int fd, size_t size, const Deadline& deadline) {
  Bytes bytes(size);
  for (size_t got = 0; got < size;) {
    const ssize_t n = ::recv(fd, bytes.data() + got, size - got, MSG_DONTWAIT);
    if (n > 0) {
      got += static_cast<size_t>(n);
    } else if (n == 0 || (errno != EINTR && (errno != EAGAIN || !await(fd, POLLIN, deadline)))) {
      return std::nullopt;
    }
  }
  return bytes;
}

std::optional<Answer> visit(int fd, const Visit& visit, const Deadline& deadline) {
  const Bytes payload = encode(visit);
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(payload.size())).put(MessageType::kVisit).put(uint16_t{0});
  Bytes frame = writer.take();
  frame.insert(frame.end(), payload.begin(), payload.end());
  if (!send_all(fd, frame, deadline)) return std::nullopt;
  const auto header = receive(fd, kHeaderBytes, deadline);
  if (!header) return std::nullopt;
  ByteReader reader(*header);
  const auto length = reader.get<uint32_t>();
  if (length > kMeetingPayloadBytes || reader.get<MessageType>() != MessageType::kAnswer) return std::nullopt;
  const auto answer = receive(fd, length, deadline);
  return answer ? decode_answer(*answer) : std::nullopt;
}

}  // namespace

Found find_meeting(const IdContent& id, uint32_t rank) {
  Visit question;
  question.purpose = VisitPurpose::kStatus;
  std::string all;
  bool stranger = false, refused = false, silent = false;
  for (const SocketAddress& address : with_own_scopes(id.addresses, nullptr)) {
    const Deadline deadline = Deadline::after_ms(kAnswerWithinMs);
    auto socket = connect_to(address, nullptr);
    refused = refused || (!socket.ok() && errno == ECONNREFUSED);
    if (!socket.ok()) continue;
    const Proof proof = prove(socket->get(), id, rank, deadline);
    refused = refused || proof.refused;
    stranger = stranger || proof.by_stranger;
    silent = silent || proof.silent;
    if (!proof.given) all += fmt::format("{}{}: {}", all.empty() ? "" : "; ", address.text(), proof.why);
    const auto answer = proof.given ? visit(socket->get(), question, deadline) : std::nullopt;
    if (!answer) continue;
    if (answer->kind != AnswerKind::kRefused) return {Found::Who::kMeeting, Code::kSuccess, {}};
    const Code code = answer->code == Code::kSuccess ? Code::kRemoteError : answer->code;
    return {Found::Who::kFailed, code, answer->text};
  }
  const Found::Who who = refused    ? Found::Who::kNobody
                         : stranger ? Found::Who::kStranger
                         : silent   ? Found::Who::kSilent
                                    : Found::Who::kNobody;
  return {who, Code::kRemoteError, all};
}

Status say_farewell(const IdContent& id, uint32_t rank, uint32_t nranks, const Status& why, Deadline deadline,
                    const Settings* settings) {
  Visit farewell;
  farewell.purpose = VisitPurpose::kGiveUp;
  farewell.nranks = nranks;
  farewell.code = why.code();
  farewell.text = std::string(why.message());
  for (const SocketAddress& address : with_own_scopes(id.addresses, settings)) {
    auto socket = connect_to(address, nullptr);
    if (!socket.ok() || !prove(socket->get(), id, rank, deadline).given) continue;
    const auto answer = visit(socket->get(), farewell, deadline);
    if (!answer) continue;
    const bool told = answer->kind == AnswerKind::kRefused && answer->code != Code::kSuccess;
    return told ? Status(answer->code, answer->text) : why;
  }
  return why;
}

}  // namespace comity::control
