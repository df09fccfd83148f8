#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "perf/limits/limits.h"
#include "src/base/clock.h"
#include "src/base/unique_fd.h"

namespace comity::perf {
namespace {

constexpr size_t kCallBytes = 1 << 20;
constexpr size_t kVolumeBytes = size_t{512} << 20;
constexpr int kTrips = 4000;
constexpr int kWaitSeconds = 20;

Status socket_error(const char* what) {
  return Status(Code::kSystemError, fmt::format("measuring TCP: {}: {}", what, std::strerror(errno)));
}

Status prepare(int fd, const std::string& congestion) {
  const int one = 1;
  const timeval wait{kWaitSeconds, 0};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (congestion.empty()) return {};
  const auto length = static_cast<socklen_t>(congestion.size());
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion.data(), length) == 0) return {};
  return socket_error(("congestion control '" + congestion + "'").c_str());
}

Result<UniqueFd> bound_listener(sockaddr_in& address, const std::string& congestion) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return socket_error("socket");
  COMITY_RETURN_IF_ERROR(prepare(fd.get(), congestion));
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(fd.get(), generic, length) != 0 || listen(fd.get(), 1) != 0) return socket_error("bind");
  getsockname(fd.get(), generic, &length);
  return fd;
}

// Rank 0 leaves its port on the board; rank 1 connects to it.
Result<UniqueFd> meet(SharedBoard& board, int rank, sockaddr_in address, const std::string& congestion) {
  UniqueFd listener;
  if (rank == 0) {
    COMITY_ASSIGN_OR_RETURN(listener, bound_listener(address, congestion));
    board.set_note(ntohs(address.sin_port));
  }
  COMITY_RETURN_IF_ERROR(board.barrier());
  UniqueFd fd;
  if (rank == 0) {
    fd.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) return socket_error("accept");
  } else if (rank == 1) {
    address.sin_port = htons(static_cast<uint16_t>(board.note()));
    fd.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      return socket_error("connect");
    }
  }
  if (fd.valid()) COMITY_RETURN_IF_ERROR(prepare(fd.get(), congestion));
  return fd;
}

bool send_volume(int fd, const std::vector<char>& buffer) {
  for (size_t sent = 0; sent < kVolumeBytes;) {
    const ssize_t n = send(fd, buffer.data(), std::min(buffer.size(), kVolumeBytes - sent), MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool receive_volume(int fd, std::vector<char>& buffer) {
  for (size_t got = 0; got < kVolumeBytes;) {
    const ssize_t n = recv(fd, buffer.data(), std::min(buffer.size(), kVolumeBytes - got), 0);
    if (n <= 0) return false;
    got += static_cast<size_t>(n);
  }
  return true;
}

// Bytes/s of one direction, of `fd`'s side that sends, receives or does both.
Result<double> stream(SharedBoard& board, int fd, bool sends, bool receives) {
  std::vector<char> out(kCallBytes, 1), in(kCallBytes);
  COMITY_RETURN_IF_ERROR(board.start_together());
  const uint64_t begin = now_ns();
  bool sent = true, received = true;
  std::thread sender;
  if (sends) sender = std::thread([&] { sent = send_volume(fd, out); });
  if (receives) received = receive_volume(fd, in);
  if (sender.joinable()) sender.join();
  double took_ns = static_cast<double>(now_ns() - begin);
  COMITY_RETURN_IF_ERROR(board.max_over_ranks({&took_ns, 1}));
  if (!sent || !received) return socket_error("the stream broke");
  return static_cast<double>(kVolumeBytes) / (took_ns * 1e-9);
}

bool receive_spinning(int fd, char* buffer, size_t bytes) {
  const Deadline deadline = Deadline::after_ms(kWaitSeconds * 1000);
  for (size_t got = 0; got < bytes;) {
    const ssize_t n = recv(fd, buffer + got, bytes - got, MSG_DONTWAIT);
    if (n > 0) got += static_cast<size_t>(n);
    if (n == 0 || (n < 0 && errno != EAGAIN) || deadline.passed()) return false;
  }
  return true;
}

Result<double> one_way_ns(SharedBoard& board, int fd, int rank) {
  std::vector<double> trips_ns(kTrips);
  char word[8] = {};
  COMITY_RETURN_IF_ERROR(board.start_together());
  bool alive = true;
  for (int trip = 0; rank < 2 && alive && trip < kTrips; ++trip) {
    const uint64_t begin = now_ns();
    if (rank == 0) alive = send(fd, word, sizeof word, MSG_NOSIGNAL) == sizeof word;
    alive = alive && receive_spinning(fd, word, sizeof word);
    if (rank == 1 && alive) alive = send(fd, word, sizeof word, MSG_NOSIGNAL) == sizeof word;
    trips_ns[static_cast<size_t>(trip)] = rank == 0 ? static_cast<double>(now_ns() - begin) / 2 : 0;
  }
  std::nth_element(trips_ns.begin(), trips_ns.begin() + kTrips / 2, trips_ns.end());
  double median = alive ? trips_ns[kTrips / 2] : 0;
  COMITY_RETURN_IF_ERROR(board.max_over_ranks({&median, 1}));
  if (!alive) return socket_error("the ping-pong broke");
  return median;
}

}  // namespace

Result<TcpLimits> tcp_limits(SharedBoard& board, int rank, const std::string& address,
                             const std::string& congestion) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  if (inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) {
    return Status(Code::kInvalidArgument, fmt::format("'{}' is no IPv4 address", address));
  }
  COMITY_ASSIGN_OR_RETURN(const UniqueFd fd, meet(board, rank, to, congestion));
  TcpLimits limits;
  COMITY_ASSIGN_OR_RETURN(limits.latency_ns, one_way_ns(board, fd.get(), rank));
  COMITY_ASSIGN_OR_RETURN(limits.one_way_bytes_per_s, stream(board, fd.get(), rank == 0, rank == 1));
  COMITY_ASSIGN_OR_RETURN(limits.two_way_bytes_per_s, stream(board, fd.get(), rank < 2, rank < 2));
  return limits;
}

}  // namespace comity::perf
