#include "transports/tcp/tcp_endpoint.h"

#include <fmt/core.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/clock.h"
#include "src/base/drain.h"

namespace comity::tcp {
namespace {

// Copying this little beside its header is cheaper than a system call with two pieces.
constexpr size_t kCoalesceBytes = 1024;
constexpr uint64_t kPatienceMs = 2'000;
constexpr uint32_t kHeldBackBytes = 32 * 1024;  // shorter segments always go
constexpr uint32_t kMeasuredSegments = 16;
constexpr uint64_t kMissedForLongNs = 250'000'000;

SocketAddress remote_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) return {};
  return address;
}

void set_option(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof(value));
}

// A host that vanished is noticed in about a minute; a peer that computes for long answers probes all the
// same.
void keep_alive(int fd) {
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 20);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

}  // namespace

TcpEndpoint::TcpEndpoint(EndpointConfig config)
    : config_(std::move(config)), current_{UniqueFd(), FrameReceiver(config_.limits)} {}

// A segment whose payload is not out belongs to a call that did not complete: its end is cut off, and the
// peer sees that. Everything else was handed over as sent, and arrives.
TcpEndpoint::~TcpEndpoint() {
  for (Retiring& each : retiring_) keep(std::move(each.channel.socket), each.unsent);
  keep(std::move(next_), {});
  if (!connected() || (sending() && (total_ > sizeof(SegmentHeader) || send_error_ != 0))) return;
  keep(std::move(current_.socket), unsent_header());
}

void TcpEndpoint::keep(UniqueFd socket, const std::vector<std::byte>& unsent) const {
  if (!socket.valid()) return;
  if (config_.keeper != nullptr) {
    config_.keeper->keep(socket.release(), unsent);
  } else {
    drain_and_close(Drain(std::move(socket), unsent), kPatienceMs);
  }
}

std::vector<std::byte> TcpEndpoint::unsent_header() const {
  if (!sending()) return {};
  const auto* header = reinterpret_cast<const std::byte*>(&header_);
  return {header + sent_, header + total_};
}

std::string TcpEndpoint::describe() const {
  if (local_.length == 0) {
    return fmt::format("tcp {} connection {} to rank {}, not connected", config_.interface, config_.index,
                       config_.peer);
  }
  return fmt::format("tcp {} {} -> {}", config_.interface, local_.text(), remote_.text());
}

void TcpEndpoint::attach(UniqueFd socket, bool by_higher) {
  assert(socket.valid());
  if (!status_.ok()) return;
  wanted_since_ns_ = 0;
  if (connected() && by_higher_ && !by_higher && (next_.valid() || brings_more(current_)))
    return retire({std::move(socket), FrameReceiver(config_.limits)});
  by_higher_ = by_higher;
  if (!connected()) return use(std::move(socket));
  if (next_.valid()) retire({std::move(next_), FrameReceiver(config_.limits)});
  next_ = std::move(socket);
  retire_current();
}

void TcpEndpoint::use(UniqueFd socket) {
  current_.socket = std::move(socket);
  local_ = local_address_of(fd());
  remote_ = remote_address_of(fd());
  set_option(fd(), IPPROTO_TCP, TCP_NODELAY, 1);
  keep_alive(fd());
  until_measured_ = 0;
}

void TcpEndpoint::fail(Code code, const std::string& cause) {
  if (!status_.ok()) return;
  status_ = Status(code, fmt::format("rank {} ({}): {}", config_.peer, describe(), cause));
  current_.socket.reset();
  next_.reset();
  unusual_ &= kAnnounced;  // retiring_ may be walked by who calls
}

// --- giving a connection up --------------------------------------------------------------------------------

void TcpEndpoint::retire_if_idle(uint64_t idle_ms) {
  if (!connected() || unusual_ != 0 || sending() || send_error_ != 0 || !current_.receiver.at_boundary())
    return;
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (::getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return;
  int unread = 0;
  if (::ioctl(fd(), FIONREAD, &unread) != 0 || unread > 0) return;
  if (std::min(info.tcpi_last_data_sent, info.tcpi_last_data_recv) >= idle_ms) retire_current();
}

// As soon as the segment that is being sent is out.
void TcpEndpoint::retire_current() {
  if (send_error_ != 0) return fail_sending();
  if (sending()) {
    unusual_ |= kRetireNext;
    return;
  }
  unusual_ &= static_cast<uint8_t>(~kRetireNext);
  retire(std::exchange(current_, Channel{UniqueFd(), FrameReceiver(config_.limits)}));
  holding_back_ = false;
  if (next_.valid()) use(std::move(next_));
}

void TcpEndpoint::retire(Channel channel) {
  const SegmentHeader header = farewell(config_.limits);
  const auto* bytes = reinterpret_cast<const std::byte*>(&header);
  retiring_.push_back({std::move(channel), {bytes, bytes + sizeof(header)}});
  unusual_ |= kRetiring;
  say_farewell(retiring_.back());
}

// A connection that failed shows when it is read, if there is more to read.
void TcpEndpoint::say_farewell(Retiring& retiring) const {
  const int socket = retiring.channel.socket.get();
  const ssize_t n =
      ::send(socket, retiring.unsent.data(), retiring.unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0) retiring.unsent.erase(retiring.unsent.begin(), retiring.unsent.begin() + n);
  if (n < 0 && errno != EAGAIN && errno != EINTR) retiring.unsent.clear();
  if (retiring.unsent.empty()) ::shutdown(socket, SHUT_WR);
}

bool TcpEndpoint::progress_unusual(SegmentSink& sink) {
  // What was announced, and is no more if another thread took it, is watched again only by who arms anew.
  bool moved = (unusual_ & kAnnounced) != 0;
  unusual_ &= static_cast<uint8_t>(~kAnnounced);
  for (size_t i = 0; status_.ok() && i < retiring_.size();) {
    Retiring& each = retiring_[i];
    if (!each.unsent.empty()) say_farewell(each);
    if (brings_more(each.channel)) moved |= receive(each.channel, sink);
    if (brings_more(each.channel) || (each.channel.socket.valid() && !each.unsent.empty())) {
      ++i;
      continue;
    }
    if (config_.keeper != nullptr && each.channel.socket.valid())
      config_.keeper->keep(each.channel.socket.release(), {});
    retiring_.erase(retiring_.begin() + static_cast<ptrdiff_t>(i));
  }
  moved |= progress_current(sink);
  if (peer_ended_ && !brings_more()) fail_ended();
  if (!status_.ok()) retiring_.clear();
  if (retiring_.empty()) unusual_ &= static_cast<uint8_t>(~kRetiring);
  return moved;
}

bool TcpEndpoint::progress_current(SegmentSink& sink) {
  if (!connected()) {
    miss();
    return false;
  }
  bool moved = sending() && send_error_ == 0 && flush();
  if ((unusual_ & kRetireNext) != 0 && (send_error_ == 0 || !brings_more(current_))) retire_current();
  if (brings_more(current_)) moved |= receive(current_, sink);
  return moved;
}

bool TcpEndpoint::brings_more() const {
  return next_.valid() || brings_more(current_) ||
         std::any_of(retiring_.begin(), retiring_.end(),
                     [](const Retiring& each) { return brings_more(each.channel); });
}

// --- sending -----------------------------------------------------------------------------------------------

bool TcpEndpoint::try_send(const SegmentHeader& header, SourceMemory payload) {
  assert(header.length <= config_.traits.segment_bytes &&
         "a segment is longer than the endpoint's segment_bytes");
  if (!connected() || sending() || send_error_ != 0) return refuse();
  holding_back_ =
      config_.one_of_several && header.length >= kHeldBackBytes && enough_on_its_way(header.length);
  if (holding_back_) return false;
  header_ = header;
  payload_ = payload.data;
  total_ = sizeof(SegmentHeader) + header.length;
  sent_ = 0;
  flush();
  return true;
}

bool TcpEndpoint::refuse() {
  if (connected() || peer_ended_ || !status_.ok() || wanted_since_ns_ != 0 || config_.wanting == nullptr)
    return false;
  wanted_since_ns_ = now_ns();
  config_.wanting->endpoints.push_back(this);
  config_.wanting->attention.store(true, std::memory_order_relaxed);
  return false;
}

// The higher rank, which dialed at first, does so too when it has waited for the lower one for long: it may
// be that only it can.
void TcpEndpoint::miss() {
  if (!config_.higher || !ever_connected() || wanted_since_ns_ != 0) return;
  const uint64_t now = now_ns();
  const bool waited_on = missed_at_ns_ != 0 && now - missed_at_ns_ < kMissedForLongNs / 2;
  missed_at_ns_ = now;
  if (!waited_on) missed_since_ns_ = now;
  if (now - missed_since_ns_ >= kMissedForLongNs) refuse();
}

// A rail's queue (an interface's, a switch's) swallows megabytes, which a slow rail then takes long to bring
// over while a faster one idles. So no more is under way than twice what the path holds: delivery rate times
// least round trip, both as the kernel measures them, and at least two segments, as long as this one.
bool TcpEndpoint::enough_on_its_way(uint32_t segment_bytes) {
  if (until_measured_ == 0) {
    tcp_info info{};
    socklen_t length = sizeof(info);
    ::getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &info, &length);
    held_by_path_ =
        static_cast<uint64_t>(static_cast<double>(info.tcpi_delivery_rate) * info.tcpi_min_rtt * 1e-6);
    until_measured_ = kMeasuredSegments;
  }
  int queued = 0;
  ::ioctl(fd(), SIOCOUTQ, &queued);
  if (static_cast<uint64_t>(queued) > 2 * std::max<uint64_t>(held_by_path_, segment_bytes)) return true;
  --until_measured_;
  return false;
}

// One system call. Negative: errno says why.
ssize_t TcpEndpoint::write_some() {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  constexpr size_t kHeader = sizeof(SegmentHeader);
  if (sent_ >= kHeader) return ::send(fd(), payload_ + (sent_ - kHeader), total_ - sent_, kFlags);
  const auto* header = reinterpret_cast<const std::byte*>(&header_);
  if (total_ <= kHeader + kCoalesceBytes) {
    std::array<std::byte, kHeader + kCoalesceBytes> whole;
    std::memcpy(whole.data(), header, kHeader);
    if (total_ > kHeader) std::memcpy(whole.data() + kHeader, payload_, total_ - kHeader);
    return ::send(fd(), whole.data() + sent_, total_ - sent_, kFlags);
  }
  std::array<iovec, 2> pieces{{{const_cast<std::byte*>(header) + sent_, kHeader - sent_},
                               {const_cast<std::byte*>(payload_), total_ - kHeader}}};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return ::sendmsg(fd(), &message, kFlags);
}

// True if bytes moved.
bool TcpEndpoint::flush() {
  const ssize_t n = write_some();
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) send_error_ = errno;
    return false;
  }
  sent_ += static_cast<size_t>(n);
  if (sent_ == total_) ++transmitted_;
  return n > 0;
}

void TcpEndpoint::let_go(uint32_t communicator) {
  current_.receiver.let_go(communicator);
  for (Retiring& each : retiring_) each.channel.receiver.let_go(communicator);
  if (!sending() || header_.communicator != communicator || header_.length == 0) return;
  if (payload_ == kept_.data()) return;
  kept_.assign(payload_, payload_ + header_.length);
  payload_ = kept_.data();
}

// --- receiving ---------------------------------------------------------------------------------------------

bool TcpEndpoint::progress(SegmentSink& sink) {
  if (unusual_ != 0) [[unlikely]]
    return progress_unusual(sink);
  if (!connected()) {
    miss();
    return false;
  }
  bool moved = sending() && send_error_ == 0 && flush();
  moved |= receive(current_, sink);
  return moved;
}

bool TcpEndpoint::receive(Channel& channel, SegmentSink& sink) {
  std::array<iovec, 2> pieces;
  const int count = channel.receiver.want(pieces);
  ssize_t n = 0;
  if (count == 1) {
    n = ::recv(channel.socket.get(), pieces[0].iov_base, pieces[0].iov_len, MSG_DONTWAIT);
  } else {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = static_cast<size_t>(count);
    n = ::recvmsg(channel.socket.get(), &message, MSG_DONTWAIT);
  }
  if (n <= 0) {
    receive_failed(channel, n == 0 ? 0 : errno);
    return false;
  }
  if (const std::string fault = channel.receiver.got(static_cast<size_t>(n), sink); !fault.empty()) {
    if (!channel.receiver.heard_farewell()) {
      fail(Code::kRemoteError, fmt::format("it sent {}", fault));
    } else if (&channel == &current_) {
      retire_current();
    }
  }
  return true;
}

// `error` 0: the end of the stream.
void TcpEndpoint::receive_failed(Channel& channel, int error) {
  if (error == EINTR) return;
  if (error == EAGAIN) {
    if (send_error_ != 0 && &channel == &current_) fail_sending();
    return;
  }
  if (error != 0)
    return fail(Code::kRemoteError, fmt::format("the connection failed: {}", std::strerror(error)));
  if (!channel.receiver.at_boundary()) {
    return fail(Code::kRemoteError, "it closed the connection in the middle of a segment (its process died)");
  }
  if (&channel == &current_ && sending()) return fail_ended();
  channel.socket.reset();
  peer_ended_ = true;
  if (!brings_more()) fail_ended();
}

void TcpEndpoint::fail_sending() {
  fail(Code::kRemoteError,
       fmt::format("the connection failed while sending: {}", std::strerror(send_error_)));
}

void TcpEndpoint::fail_ended() {
  if (!status_.ok()) return;
  ended_ = std::none_of(retiring_.begin(), retiring_.end(),
                        [](const Retiring& each) { return brings_more(each.channel); });
  fail(Code::kRemoteError, "it closed the connection (its process ended, or left the communicator first)");
}

}  // namespace comity::tcp
