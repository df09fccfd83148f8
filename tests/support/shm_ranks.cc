#include "tests/support/shm_ranks.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "src/base/clock.h"
#include "src/device/host/arena.h"

namespace comity::test {
namespace {

void must(bool fine, const std::string& what) {
  if (fine) return;
  fmt::print(stderr, "shm ranks: {}: {}\n", what, std::strerror(errno));
  std::abort();
}

// Abstract, so that nothing stays behind.
socklen_t fill(sockaddr_un& address, std::string_view name) {
  address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

// Asks when it is polled, and waits: the owner is a thread that does nothing else.
class SocketFetch final : public DescriptorFetch {
 public:
  SocketFetch(std::string_view owner, uint32_t arena) : owner_(owner), arena_(arena) {}
  Result<int> poll() override {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address;
    const socklen_t length = fill(address, owner_);
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::send(socket.get(), &arena_, sizeof(arena_), 0) != sizeof(arena_)) {
      return Status(Code::kSystemError, fmt::format("asking {}: {}", owner_, std::strerror(errno)));
    }
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC) != 1)
      return Status(Code::kRemoteError, "no answer");
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr)
      return Status(Code::kRemoteError, fmt::format("{} has no memory {}", owner_, arena_));
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
  }
  void wait(int) const override {}
  std::vector<uint32_t> gone() const override { return {}; }

 private:
  std::string owner_;
  uint32_t arena_;
};

class SocketDescriptors final : public DescriptorSource {
 public:
  std::unique_ptr<DescriptorFetch> fetch(std::string_view owner, uint32_t arena,
                                         std::span<const uint32_t>) override {
    return std::make_unique<SocketFetch>(owner, arena);
  }
};

void answer(int socket) {
  uint32_t arena = 0;
  if (::recv(socket, &arena, sizeof(arena), 0) != sizeof(arena)) return;
  auto found = RegionTable::instance().descriptor_of(arena);
  char byte = 1;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (found.ok()) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = found->get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  ::sendmsg(socket, &message, MSG_NOSIGNAL);
}

Meeting* map_meeting(int fd) {
  void* memory = ::mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(memory != MAP_FAILED, "mapping the meeting");
  return static_cast<Meeting*>(memory);
}

}  // namespace

std::vector<uint32_t> first_ranks(uint32_t n) {
  std::vector<uint32_t> ranks(n);
  std::iota(ranks.begin(), ranks.end(), 0u);
  return ranks;
}

std::vector<std::unique_ptr<Transport>> make_shm_threads(uint32_t nranks, const shm::ShmOptions& options) {
  std::vector<std::unique_ptr<Transport>> transports;
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    TransportContext context;
    context.rank = rank;
    context.nranks = nranks;
    auto made = shm::make_shm_transport(context, options);
    must(made.ok(), std::string(made.status().message()));
    transports.push_back(std::move(made).value());
  }
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    for (uint32_t peer = 0; peer < nranks; ++peer) {
      if (peer == rank) continue;
      const Status status = transports[rank]->reach(peer, transports[peer]->address());
      must(status.ok(), std::string(status.message()));
    }
  }
  return transports;
}

MeetingPlace::MeetingPlace() : fd_(::memfd_create("comity-test-meeting", 0)) {
  must(fd_.valid() && ::ftruncate(fd_.get(), sizeof(Meeting)) == 0, "making the meeting");
  meeting_ = map_meeting(fd_.get());
}

std::string MeetingPlace::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get());
}

ShmProcess::ShmProcess(const std::string& meeting_path, uint32_t rank, uint32_t nranks,
                       const shm::ShmOptions& options)
    : rank_(rank), nranks_(nranks), descriptors_(std::make_unique<SocketDescriptors>()) {
  const UniqueFd meeting(::open(meeting_path.c_str(), O_RDWR | O_CLOEXEC));
  must(meeting.valid(), "opening the meeting");
  meeting_ = map_meeting(meeting.get());
  const std::string name = fmt::format("comity-test-{}-{}", ::getpid(), rank);
  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address;
  const socklen_t length = fill(address, name);
  must(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 &&
           ::listen(listener_.get(), 64) == 0,
       "serving descriptors");
  server_ = std::thread([this] { serve(); });
  TransportContext context;
  context.rank = rank;
  context.nranks = nranks;
  context.descriptors = descriptors_.get();
  context.descriptor_socket_name = name;
  auto made = shm::make_shm_transport(context, options);
  must(made.ok(), std::string(made.status().message()));
  transport_ = std::move(made).value();
  Meeting::Slot& slot = meeting_->slots[rank];
  std::memcpy(slot.address, transport_->address().data(), transport_->address().size());
  slot.bytes.store(static_cast<uint32_t>(transport_->address().size()), std::memory_order_release);
  barrier();
  for (uint32_t peer = 0; peer < nranks; ++peer) {
    if (peer == rank) continue;
    const Meeting::Slot& theirs = meeting_->slots[peer];
    const Status status = transport_->reach(peer, std::span(theirs.address, theirs.bytes.load()));
    must(status.ok(), std::string(status.message()));
  }
  barrier();
}

ShmProcess::~ShmProcess() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  server_.join();
  ::munmap(meeting_, sizeof(Meeting));
}

void ShmProcess::serve() {
  for (;;) {
    const UniqueFd asker(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!asker.valid()) return;
    answer(asker.get());
  }
}

void ShmProcess::barrier() {
  const uint64_t all = ++barriers_ * nranks_;
  meeting_->arrived.fetch_add(1, std::memory_order_acq_rel);
  const Deadline deadline = Deadline::after_ms(120'000);
  while (meeting_->arrived.load(std::memory_order_acquire) < all) {
    must(!deadline.passed(), "waiting for the other ranks");
    ::sched_yield();
  }
}

Progress finish(GroupProvider& provider, uint64_t patience_s) {
  uint64_t begin = 0;
  for (uint64_t polls = 1;; ++polls) {
    const Progress progress = provider.poll();
    if (!is_unfinished(progress)) return progress;
    if (polls % 16 == 0) ::sched_yield();
    if (polls % 1024 == 0) {
      if (begin == 0) begin = now_ns();
      must(now_ns() - begin < patience_s * 1'000'000'000u, "a group call does not end");
    }
  }
}

Progress run(GroupProvider& provider, const GroupCall& call) {
  provider.start(call);
  return finish(provider);
}

}  // namespace comity::test
