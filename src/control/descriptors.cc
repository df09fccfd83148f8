// Passing memory descriptors to other processes of this host: an abstract unix socket, the handshake, one
// request, one answer with the descriptor as ancillary data. See descriptor_wire.h; the asking side is
// descriptor_fetch.h.
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
#include "src/control/descriptor_wire.h"
#include "src/control/loop.h"

namespace comity::control {
namespace {

constexpr uint64_t kRequestWithinMs = 5000;
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

std::string random_name() {
  return fmt::format("comity-{:016x}{:016x}", random_u64(), random_u64());
}

void send_answer(int socket, const Result<UniqueFd>& descriptor, std::vector<uint32_t> gone) {
  Bytes answer = encode(ArenaAnswer{descriptor.status(), std::move(gone)});
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
  // A local socket takes two kilobytes whole, or its peer is gone.
  if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    COMITY_LOG_INFO("control: a descriptor could not be passed: {}", errno_text(errno));
  }
}

// A proven connection that still has to say which arena it wants. The loop's callbacks hold it.
struct Asker {
  StreamPtr stream;
  uint64_t watch = 0;
  uint64_t timer = 0;
  Bytes request;
};

void end(Loop& loop, Asker& asker) {
  loop.unwatch(std::exchange(asker.watch, 0));
  loop.cancel(std::exchange(asker.timer, 0));
  asker.stream.reset();
}

// Arenas that the asker has mapped and that this process gave back.
std::vector<uint32_t> gone_of(const ArenaRequest& request, const DescriptorProvider& provider) {
  std::vector<uint32_t> gone;
  for (const uint32_t arena : request.held) {
    if (provider(arena).status().code() == Code::kInvalidArgument) gone.push_back(arena);
  }
  return gone;
}

void answer(int socket, const ArenaRequest& request) {
  DescriptorProvider provider;
  {
    const std::lock_guard lock(service_lock());
    if (provider_of_all != nullptr) provider = *provider_of_all;
  }
  if (!provider) return send_answer(socket, Status(Code::kInvalidUsage, "this process shares no memory"), {});
  send_answer(socket, provider(request.arena), gone_of(request, provider));
}

void on_request(Loop& loop, Asker& asker) {
  std::byte buffer[kRequestHeadBytes + kMostHeld * sizeof(uint32_t)];
  const size_t had = asker.request.size();
  const size_t wanted = had < kRequestHeadBytes ? kRequestHeadBytes : request_bytes(asker.request);
  const ssize_t n = wanted > had ? asker.stream->read(std::span(buffer).first(wanted - had)) : 0;
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return end(loop, asker);
  asker.request.insert(asker.request.end(), buffer, buffer + n);
  if (asker.request.size() < kRequestHeadBytes || asker.request.size() < request_bytes(asker.request)) return;
  answer(asker.stream->fd(), decode_arena_request(asker.request));
  end(loop, asker);
}

void on_proven(Loop& loop, StreamPtr stream, const HandshakeHello& hello) {
  if (hello.role != SocketRole::kDescriptor) return;
  const auto asker = std::make_shared<Asker>();
  asker->stream = std::move(stream);
  asker->watch = loop.watch(*asker->stream, POLLIN, [&loop, asker](uint32_t) { on_request(loop, *asker); });
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
  delete std::exchange(provider_of_all, new DescriptorProvider(std::move(provider)));
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
    std::vector<ListenerPtr> listeners;
    listeners.push_back(std::make_unique<KernelListener>(std::move(*listener)));
    auto acceptor = Acceptor::open(
        loop, std::move(listeners), find_secret,
        [&loop](StreamPtr asker, const HandshakeHello& hello) { on_proven(loop, std::move(asker), hello); });
    const std::lock_guard accepting(service_lock());
    service().acceptor = std::move(acceptor);
  });
  if (!posted) return Status(Code::kSystemError, "the control thread does not run; the process is ending");
  service().name = name;
  return name;
}

}  // namespace comity::control
