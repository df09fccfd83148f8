#include "perf/guard/wire.h"

#include <sys/socket.h>
#include <valgrind/callgrind.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "src/base/socket.h"

namespace comity::guard {
namespace {

constexpr int kDescriptors = 1024;

// Bytes under way in one direction.
class Pipe {
 public:
  size_t put(const void* from, size_t bytes) {
    bytes = std::min(bytes, bytes_.size() - held_);
    const auto* source = static_cast<const std::byte*>(from);
    for (size_t left = bytes; left > 0;) {
      const size_t at = (begin_ + held_) % bytes_.size();
      const size_t piece = std::min(left, bytes_.size() - at);
      std::memcpy(bytes_.data() + at, source, piece);
      source += piece;
      held_ += piece;
      left -= piece;
    }
    return bytes;
  }
  size_t take(void* into, size_t bytes) {
    bytes = std::min(bytes, held_);
    auto* destination = static_cast<std::byte*>(into);
    for (size_t left = bytes; left > 0;) {
      const size_t piece = std::min(left, bytes_.size() - begin_);
      std::memcpy(destination, bytes_.data() + begin_, piece);
      destination += piece;
      begin_ = (begin_ + piece) % bytes_.size();
      held_ -= piece;
      left -= piece;
    }
    return bytes;
  }

 private:
  std::array<std::byte, kPipeBytes> bytes_{};
  size_t begin_ = 0, held_ = 0;
};

struct End {
  std::shared_ptr<Pipe> in, out;
};

std::array<End, kDescriptors> ends;
uint64_t bytes_sent = 0;
bool counting = false;

End* end_of(int fd) {
  const bool ours = fd >= 0 && fd < kDescriptors && ends[static_cast<size_t>(fd)].in != nullptr;
  return ours ? &ends[static_cast<size_t>(fd)] : nullptr;
}

class Uncounted {
 public:
  Uncounted() {
    if (counting) CALLGRIND_TOGGLE_COLLECT;
  }
  ~Uncounted() {
    if (counting) CALLGRIND_TOGGLE_COLLECT;
  }
  Uncounted(const Uncounted&) = delete;
  Uncounted& operator=(const Uncounted&) = delete;
};

ssize_t put(End& end, std::span<const iovec> pieces) {
  size_t moved = 0;
  for (const iovec& piece : pieces) {
    const size_t bytes = end.out->put(piece.iov_base, piece.iov_len);
    moved += bytes;
    if (bytes < piece.iov_len) break;
  }
  bytes_sent += moved;
  if (moved > 0) return static_cast<ssize_t>(moved);
  errno = EAGAIN;
  return -1;
}

ssize_t take(End& end, std::span<const iovec> pieces) {
  size_t moved = 0;
  for (const iovec& piece : pieces) moved += end.in->take(piece.iov_base, piece.iov_len);
  if (moved > 0) return static_cast<ssize_t>(moved);
  errno = EAGAIN;
  return -1;
}

std::string remote_of(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) return {};
  return address.family() == AF_INET || address.family() == AF_INET6 ? address.text() : std::string();
}

}  // namespace

size_t take_over() {
  std::map<std::pair<std::string, std::string>, int> by_names;  // local, remote
  for (int fd = 0; fd < kDescriptors; ++fd) {
    const std::string remote = remote_of(fd);
    if (!remote.empty()) by_names[{local_address_of(fd).text(), remote}] = fd;
  }
  size_t connections = 0;
  for (const auto& [names, fd] : by_names) {
    const auto other = by_names.find({names.second, names.first});
    if (other == by_names.end() || end_of(fd) != nullptr) continue;
    const auto there = std::make_shared<Pipe>(), back = std::make_shared<Pipe>();
    ends[static_cast<size_t>(fd)] = {back, there};
    ends[static_cast<size_t>(other->second)] = {there, back};
    ++connections;
  }
  return connections;
}

void give_back() {
  for (End& end : ends) end = {};
}

uint64_t scripted_bytes() {
  return bytes_sent;
}

void count_from_here() {
  CALLGRIND_ZERO_STATS;
  counting = true;
  CALLGRIND_TOGGLE_COLLECT;
}

void count_to_here() {
  CALLGRIND_TOGGLE_COLLECT;
  counting = false;
}

}  // namespace comity::guard

// The linker sends the program's calls of send() and its kin here, and those of __real_send() to the C
// library.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {

ssize_t __real_send(int fd, const void* from, size_t bytes, int flags);
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
ssize_t __real_recv(int fd, void* into, size_t bytes, int flags);
ssize_t __real_recvmsg(int fd, msghdr* message, int flags);

ssize_t __wrap_send(int fd, const void* from, size_t bytes, int flags) {
  const comity::guard::Uncounted uncounted;
  comity::guard::End* end = comity::guard::end_of(fd);
  if (end == nullptr) return __real_send(fd, from, bytes, flags);
  const iovec piece{const_cast<void*>(from), bytes};
  return comity::guard::put(*end, {&piece, 1});
}

ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  const comity::guard::Uncounted uncounted;
  comity::guard::End* end = comity::guard::end_of(fd);
  if (end == nullptr) return __real_sendmsg(fd, message, flags);
  return comity::guard::put(*end, {message->msg_iov, message->msg_iovlen});
}

ssize_t __wrap_recv(int fd, void* into, size_t bytes, int flags) {
  const comity::guard::Uncounted uncounted;
  comity::guard::End* end = comity::guard::end_of(fd);
  if (end == nullptr) return __real_recv(fd, into, bytes, flags);
  const iovec piece{into, bytes};
  return comity::guard::take(*end, {&piece, 1});
}

ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
  const comity::guard::Uncounted uncounted;
  comity::guard::End* end = comity::guard::end_of(fd);
  if (end == nullptr) return __real_recvmsg(fd, message, flags);
  return comity::guard::take(*end, {message->msg_iov, message->msg_iovlen});
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
