// Passing memory descriptors between processes of one host: an abstract unix socket, the handshake, one
// request, one answer with the descriptor as ancillary data.
//
//   request  arena 4
//   answer   code 1, text length 2, text; with code 0 exactly one descriptor rides along
#include "src/control/descriptors.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "src/base/bytes.h"
#include "src/base/errno_text.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/control/acceptor.h"
#include "src/control/control.h"
#include "src/control/loop.h"

namespace comity::control {
namespace {

constexpr uint64_t kRequestWithinMs = 5000;
constexpr size_t kRequestBytes = 4;
constexpr size_t kMaxAnswerBytes = 1024;
constexpr int kBacklog = 1024;

struct Service {
  std::string name;  // empty: not started
  struct Communicator {
    Secret secret;
    uint32_t ranks = 0;
  };
  std::map<uint64_t, Communicator> communicators;
  std::shared_ptr<Acceptor> acceptor;
};

// Both under ProcessLock::kDescriptorService.
constinit OfThisProcess<Service> service_of_this_process;
DescriptorProvider* provider_of_all =
    nullptr;  // a child of fork() serves its own memory by the same function

Service& service() {
  return service_of_this_process.get();
}

std::mutex& service_lock() {
  return process_lock(ProcessLock::kDescriptorService);
}

struct UnixAddress {
  sockaddr_un storage{};
  socklen_t length = 0;
};

// The abstract name space: a zero byte, then the name; no file.
Result<UnixAddress> abstract_address(const std::string& name) {
  UnixAddress address;
  if (name.empty() || name.size() + 1 > sizeof(address.storage.sun_path)) {
    return Status(Code::kInvalidArgument, fmt::format("\"{}\" is not the name of a descriptor socket", name));
  }
  address.storage.sun_family = AF_UNIX;
  std::memcpy(address.storage.sun_path + 1, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Result<UniqueFd> unix_socket() {
  UniqueFd fd = open_fd([] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
  if (fd.valid()) return fd;
  return Status(Code::kSystemError, fmt::format("cannot open a local socket: {}", errno_text(errno)));
}

std::string random_name() {
  return fmt::format("comity-{:016x}{:016x}", random_u64(), random_u64());
}

Bytes encode_answer(const Status& status) {
  const std::string_view text = status.message();
  ByteWriter writer;
  writer.put(status.code());
  const std::string_view cut = text.substr(0, kMaxAnswerBytes - 16);
  writer.put(static_cast<uint16_t>(cut.size()));
  Bytes answer = writer.take();
  const auto bytes = std::as_bytes(std::span(cut.data(), cut.size()));
  answer.insert(answer.end(), bytes.begin(), bytes.end());
  return answer;
}

void send_answer(int socket, const Result<UniqueFd>& descriptor) {
  Bytes answer = encode_answer(descriptor.status());
  iovec part{answer.data(), answer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor.ok()) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = descriptor->get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  }
  // A local socket takes a kilobyte whole, or its peer is gone.
  if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    COMITY_LOG_INFO("control: a descriptor could not be passed: {}", errno_text(errno));
  }
}

// A proven connection that still has to say which arena it wants. The loop's callbacks hold it.
struct Asker {
  UniqueFd fd;
  uint64_t watch = 0;
  uint64_t timer = 0;
  Bytes request;
};

void end(Loop& loop, Asker& asker) {
  loop.unwatch(std::exchange(asker.watch, 0));
  loop.cancel(std::exchange(asker.timer, 0));
  asker.fd.reset();
}

void on_request(Loop& loop, Asker& asker) {
  std::byte buffer[kRequestBytes];
  const ssize_t n = ::recv(asker.fd.get(), buffer, kRequestBytes - asker.request.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return end(loop, asker);
  asker.request.insert(asker.request.end(), buffer, buffer + n);
  if (asker.request.size() < kRequestBytes) return;
  DescriptorProvider provider;
  {
    const std::lock_guard lock(service_lock());
    if (provider_of_all != nullptr) provider = *provider_of_all;
  }
  const auto arena = ByteReader(asker.request).get<uint32_t>();
  send_answer(asker.fd.get(),
              provider ? provider(arena) : Status(Code::kInvalidUsage, "this process shares no memory"));
  end(loop, asker);
}

void on_proven(Loop& loop, UniqueFd fd, const HandshakeHello& hello) {
  if (hello.role != SocketRole::kDescriptor) return;
  const auto asker = std::make_shared<Asker>();
  asker->fd = std::move(fd);
  asker->watch = loop.watch(asker->fd.get(), POLLIN, [&loop, asker](uint32_t) { on_request(loop, *asker); });
  asker->timer = loop.after_ms(kRequestWithinMs, [&loop, asker] { end(loop, *asker); });
}

// The claimed communicator's secret, if it lives here. Control thread; the copy stays until the next call.
const Secret* find_secret(const HandshakeHello& claimed) {
  static Secret found;
  const std::lock_guard lock(service_lock());
  const auto communicator = service().communicators.find(claimed.communicator);
  if (communicator == service().communicators.end()) return nullptr;
  found = communicator->second.secret;
  return &found;
}

Result<UniqueFd> connect_unix(const std::string& name) {
  COMITY_ASSIGN_OR_RETURN(const UnixAddress address, abstract_address(name));
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, unix_socket());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) {
    return Status(
        errno == ECONNREFUSED ? Code::kRemoteError : Code::kSystemError,
        fmt::format("cannot reach the process that owns the memory: {} (it ended, or is in another network "
                    "namespace)",
                    std::strerror(errno)));
  }
  return fd;
}

Status wait_for(int fd, short events, const Deadline& deadline) {
  pollfd waiting{fd, events, 0};
  if (deadline.passed()) {
    return Status(Code::kTimeout, "the process that owns the memory did not answer in time");
  }
  ::poll(&waiting, 1, deadline.left_ms(100));
  return {};
}

Status prove(int fd, const Secret& secret, uint64_t communicator, const Deadline& deadline) {
  HandshakeHello hello;
  hello.role = SocketRole::kDescriptor;
  hello.peer_rank = UINT32_MAX;
  hello.communicator = communicator;
  Handshake handshake = Handshake::initiate(fd, secret, hello, deadline);
  while (true) {
    COMITY_ASSIGN_OR_RETURN(const Handshake::State state, handshake.poll());
    if (state == Handshake::State::kDone) return {};
    COMITY_RETURN_IF_ERROR(wait_for(fd, handshake.poll_events(), deadline));
  }
}

struct RawAnswer {
  Bytes bytes;
  UniqueFd descriptor;
};

// One read of the answer; false: nothing more will come.
Result<bool> read_answer(int fd, RawAnswer& answer) {
  std::byte buffer[kMaxAnswerBytes];
  const ssize_t n = receive_with_descriptor(fd, buffer, answer.descriptor);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0)
    return Status(Code::kRemoteError, fmt::format("the owner of the memory: {}", std::strerror(errno)));
  answer.bytes.insert(answer.bytes.end(), buffer, buffer + n);
  if (answer.bytes.size() > kMaxAnswerBytes)
    return Status(Code::kRemoteError, "the owner's answer is malformed");
  return n > 0;
}

Result<UniqueFd> decode_answer(RawAnswer answer) {
  ByteReader reader(answer.bytes);
  const auto code = reader.get<uint8_t>();
  const auto length = reader.get<uint16_t>();
  if (!reader.ok() || reader.left() != length || code > static_cast<uint8_t>(Code::kUnsupported)) {
    return Status(Code::kRemoteError, "the process that owns the memory ended or sent a malformed answer");
  }
  if (code != 0) {
    const std::string text(reinterpret_cast<const char*>(answer.bytes.data()) + 3, length);
    return Status(static_cast<Code>(code), "the process that owns the memory refuses: " + text);
  }
  if (!answer.descriptor.valid()) {
    return Status(Code::kSystemError,
                  "the owner's descriptor did not arrive; this process has too many open (ulimit -n)");
  }
  return std::move(answer.descriptor);
}

}  // namespace

void register_communicator(uint64_t communicator, const Secret& data_secret) {
  const std::lock_guard lock(service_lock());
  Service::Communicator& entry = service().communicators[communicator];
  entry.secret = data_secret;
  ++entry.ranks;
}

void unregister_communicator(uint64_t communicator) {
  const std::lock_guard lock(service_lock());
  const auto found = service().communicators.find(communicator);
  if (found != service().communicators.end() && --found->second.ranks == 0)
    service().communicators.erase(found);
}

void serve_descriptors(DescriptorProvider provider) {
  const std::lock_guard lock(service_lock());
  provider_of_all = new DescriptorProvider(std::move(provider));
}

Result<std::string> descriptor_socket_name() {
  const std::lock_guard lock(service_lock());
  if (!service().name.empty()) return service().name;
  const std::string name = random_name();
  COMITY_ASSIGN_OR_RETURN(const UnixAddress address, abstract_address(name));
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, unix_socket());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return Status(Code::kSystemError, fmt::format("cannot listen on a local socket: {}", errno_text(errno)));
  }
  Loop& loop = Loop::instance();
  const auto listener = std::make_shared<UniqueFd>(std::move(fd));
  const bool posted = loop.post([&loop, listener] {
    std::vector<UniqueFd> listeners;
    listeners.push_back(std::move(*listener));
    auto acceptor = Acceptor::open(
        loop, std::move(listeners), find_secret,
        [&loop](UniqueFd asker, const HandshakeHello& hello) { on_proven(loop, std::move(asker), hello); });
    const std::lock_guard accepting(service_lock());
    service().acceptor = std::move(acceptor);
  });
  if (!posted) return Status(Code::kSystemError, "the control thread does not run; the process is ending");
  service().name = name;
  return name;
}

Result<UniqueFd> fetch_descriptor(const DescriptorRequest& request, const Secret& secret,
                                  uint64_t communicator_id, Deadline deadline) {
  COMITY_ASSIGN_OR_RETURN(const UniqueFd fd, connect_unix(request.socket_name));
  COMITY_RETURN_IF_ERROR(prove(fd.get(), secret, communicator_id, deadline));
  ByteWriter writer;
  writer.put(request.arena);
  // Four bytes into an empty socket: all or an error.
  if (::send(fd.get(), writer.bytes().data(), kRequestBytes, MSG_NOSIGNAL | MSG_DONTWAIT) != kRequestBytes) {
    return Status(Code::kRemoteError, fmt::format("the owner of the memory: {}", std::strerror(errno)));
  }
  RawAnswer answer;
  while (true) {
    COMITY_ASSIGN_OR_RETURN(const bool more, read_answer(fd.get(), answer));
    if (!more) return decode_answer(std::move(answer));
    COMITY_RETURN_IF_ERROR(wait_for(fd.get(), POLLIN, deadline));
  }
}

}  // namespace comity::control
