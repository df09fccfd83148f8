#include "src/base/berth.h"

#include <fmt/core.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>

#include "src/base/bytes.h"
#include "src/base/errno_text.h"
#include "src/base/futex.h"
#include "src/base/log.h"
#include "src/base/random.h"

namespace comity {
namespace {

constexpr uint32_t kSleeping = 1;
constexpr int kNameTries = 8;

// Never destroyed: who rings may have found a berth just before its sleeper left.
struct Berths {
  std::vector<Berth*> all;
  std::vector<Berth*> free;
  size_t reserved = 0, reserved_sockets = 0;

  Berth& make() {
    all.push_back(new Berth);
    free.reserve(all.size());
    return *all.back();
  }
};
constinit OfThisProcess<Berths> berths;     // under ProcessLock::kBerths
constinit std::atomic<uint64_t> sender{0};  // fork_era() << 32 | descriptor
constinit std::atomic<uint64_t> sleeps{0}, sleeps_in_vain{0};

struct BellAddress {
  sockaddr_un address{};
  socklen_t length = 0;
};

BellAddress address_of(uint64_t name) {
  BellAddress to;
  to.address.sun_family = AF_UNIX;
  const auto end = fmt::format_to_n(to.address.sun_path + 1, sizeof(to.address.sun_path) - 1,
                                    "comity-berth-{:016x}", name);
  to.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + end.size);
  return to;
}

UniqueFd datagram_socket() {
  return open_fd([] { return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
}

// Datagrams that are not the token are dropped. A kernel without it lets strangers wake us, no more.
void take_only(int socket, uint64_t token) {
  const auto high = static_cast<uint32_t>(token >> 32), low = static_cast<uint32_t>(token);
  // Loads give numbers as they lie in memory, high byte first.
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 8, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 8),          BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog filter{sizeof(program) / sizeof(program[0]), program};
  (void)::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

// One per process and era, made at first use and never closed.
int sender_socket() {
  const uint64_t known = sender.load(std::memory_order_acquire);
  if (known >> 32 == fork_era()) return static_cast<int>(known & UINT32_MAX);
  const std::lock_guard lock(process_lock(ProcessLock::kBerths));
  const uint64_t meanwhile = sender.load(std::memory_order_relaxed);
  if (meanwhile >> 32 == fork_era()) return static_cast<int>(meanwhile & UINT32_MAX);
  UniqueFd made = datagram_socket();
  if (!made.valid()) return -1;
  static UniqueFd* kept = nullptr;
  if (kept != nullptr) leave_to_parent(kept);
  kept = new UniqueFd(std::move(made));
  sender.store(uint64_t{fork_era()} << 32 | static_cast<uint32_t>(kept->get()), std::memory_order_release);
  return kept->get();
}

}  // namespace

bool ring_bell(const Bell& bell) {
  const int from = sender_socket();
  if (from < 0) return false;
  const BellAddress to = address_of(bell.name);
  std::byte token[8];
  for (int i = 0; i < 8; ++i) token[i] = static_cast<std::byte>(bell.token >> (56 - 8 * i));
  const int before = errno;
  ssize_t sent = 0;
  do {
    sent = ::sendto(from, token, sizeof(token), MSG_DONTWAIT | MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&to.address), to.length);
  } while (sent < 0 && errno == EINTR);
  const bool heard = sent >= 0 || errno == EAGAIN;  // full: it was rung and has not looked yet
  errno = before;
  return heard;
}

// --- one sleeper -------------------------------------------------------------------------------------------

void Berth::open(bool alone) {
  const std::lock_guard lock(mutex_);
  open_ = true;
  rung_ = published_ = false;
  alone_ = alone;
  most_ns_ = UINT64_MAX;
  polled_.clear();
}

void Berth::close() {
  const std::lock_guard lock(mutex_);
  open_ = false;
  word_ = nullptr;
  // What is left unread counts against its sender, who may then ring nobody else.
  std::byte token[8];
  while ((rung_ || published_) && ::recv(socket_.get(), token, sizeof(token), MSG_DONTWAIT) >= 0) {
  }
}

uint32_t Berth::watch(int descriptor, short events) {
  polled_.push_back({descriptor, events, 0});
  return static_cast<uint32_t>(polled_.size()) - 1;
}

short Berth::reported(uint32_t number) const {
  return polled_[number].revents;
}

void Berth::at_most(uint64_t ns) {
  most_ns_ = std::min(most_ns_, ns);
}

Bell Berth::listen(std::atomic<uint32_t>& word) {
  const std::lock_guard lock(mutex_);
  if (!alone_ && have_socket()) {
    published_ = true;
    return bell_;
  }
  if (alone_) word_ = &word;
  return {};
}

void Berth::ring() {
  const std::lock_guard lock(mutex_);
  if (!open_ || rung_) return;
  rung_ = true;
  if (word_ != nullptr) {
    if (word_->exchange(0, std::memory_order_acq_rel) != 0) futex_wake(*word_);
  } else if (socket_.valid()) {
    ring_bell(bell_);
  }
}

// Under mutex_.
bool Berth::have_socket() {
  if (socket_.valid()) return true;
  for (int i = 0; i < kNameTries && !refused_; ++i) {
    UniqueFd made = datagram_socket();
    bell_ = {system_random().random_u64() | 1, system_random().random_u64()};
    const BellAddress mine = address_of(bell_.name);
    if (made.valid()) take_only(made.get(), bell_.token);
    if (made.valid() &&
        ::bind(made.get(), reinterpret_cast<const sockaddr*>(&mine.address), mine.length) == 0) {
      socket_ = std::move(made);
      ready_.store(true, std::memory_order_relaxed);
      return true;
    }
    if (errno == EADDRINUSE) continue;
    refused_ = true;
    COMITY_LOG_WARN("no socket by which a sleeping thread is woken, so threads sleep briefly: {}",
                    errno_text(errno));
  }
  return false;
}

void Berth::sleep(uint64_t max_ns) {
  max_ns = std::min(max_ns, most_ns_);
  std::atomic<uint32_t>* word = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (rung_) return;
    word = word_;
    if (word != nullptr ? !polled_.empty() : !have_socket()) max_ns = std::min(max_ns, kNapNs);
  }
  sleeps.fetch_add(1, std::memory_order_relaxed);
  if (word != nullptr ? futex_wait(*word, kSleeping, max_ns) : poll_for(max_ns)) return;
  sleeps_in_vain.fetch_add(1, std::memory_order_relaxed);
}

bool Berth::poll_for(uint64_t max_ns) {
  const timespec limit{static_cast<time_t>(max_ns / 1'000'000'000u),
                       static_cast<long>(max_ns % 1'000'000'000u)};
  polled_.push_back({socket_.get(), POLLIN, 0});  // -1: none, which the kernel skips
  const int ready = ::ppoll(polled_.data(), polled_.size(), &limit, nullptr);
  if (ready < 0) {
    for (pollfd& each : polled_) each.revents = 0;
  }
  return ready != 0;
}

// --- all of them -------------------------------------------------------------------------------------------

BerthLoan borrow_berth() {
  const std::lock_guard lock(process_lock(ProcessLock::kBerths));
  Berths& here = berths.get();
  if (here.free.empty()) return BerthLoan(&here.make());
  auto taken = std::find_if(here.free.rbegin(), here.free.rend(), Berth::is_ready);
  if (taken == here.free.rend()) taken = here.free.rbegin();
  std::swap(*taken, here.free.back());
  Berth* const berth = here.free.back();
  here.free.pop_back();
  return BerthLoan(berth);
}

void GiveBack::operator()(Berth* berth) const {
  if (berth->era_ != fork_era()) return;  // the parent's
  const std::lock_guard lock(process_lock(ProcessLock::kBerths));
  berths.get().free.push_back(berth);
}

BerthReserve::BerthReserve(bool with_socket) : with_socket_(with_socket) {
  std::vector<Berth*> wanted;
  {
    const std::lock_guard lock(process_lock(ProcessLock::kBerths));
    Berths& here = berths.get();
    ++(with_socket ? here.reserved_sockets : here.reserved);
    while (here.all.size() < std::max(here.reserved, here.reserved_sockets))
      here.free.push_back(&here.make());
    wanted.assign(here.all.begin(), here.all.begin() + static_cast<ptrdiff_t>(here.reserved_sockets));
  }
  for (Berth* berth : wanted) {
    const std::lock_guard lock(berth->mutex_);
    static_cast<void>(berth->have_socket());
  }
}

BerthReserve::~BerthReserve() {
  if (era_ != fork_era()) return;
  const std::lock_guard lock(process_lock(ProcessLock::kBerths));
  --(with_socket_ ? berths.get().reserved_sockets : berths.get().reserved);
}

void wake_everyone() {
  std::vector<Berth*> all;
  {
    const std::lock_guard lock(process_lock(ProcessLock::kBerths));
    if (const Berths* here = berths.find()) all = here->all;
  }
  for (Berth* berth : all) berth->ring();
}

SleepCounts sleep_counts() {
  return {sleeps.load(std::memory_order_relaxed), sleeps_in_vain.load(std::memory_order_relaxed)};
}

}  // namespace comity
