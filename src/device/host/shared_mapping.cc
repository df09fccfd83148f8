#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "src/base/arithmetic.h"
#include "src/base/errno_text.h"
#include "src/device/host/arena.h"

namespace comity {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;

// ftruncate beyond RLIMIT_FSIZE raises SIGXFSZ in this thread, which kills by default: held back, and taken
// if it was not pending before. Returns errno or 0.
int resize_without_signal(int fd, uint64_t bytes) {
  sigset_t limit_signal, previous, pending;
  sigemptyset(&limit_signal);
  sigaddset(&limit_signal, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &limit_signal, &previous);
  sigpending(&pending);
  const bool was_pending = sigismember(&pending, SIGXFSZ) != 0;
  const int error = ::ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  if (error == EFBIG && !was_pending) {
    const timespec now{};
    while (sigtimedwait(&limit_signal, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  return error;
}

// Maps `bytes` of `fd` at a multiple of 2 MiB, so that huge pages are possible: reserves more, keeps the
// middle.
std::byte* map_aligned(int fd, uint64_t bytes) {
  const uint64_t reserved = bytes + kHugePage;
  void* room = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  auto* start = static_cast<std::byte*>(room);
  auto* aligned = start + (-reinterpret_cast<uintptr_t>(room) & (kHugePage - 1));
  void* mapped = ::mmap(aligned, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    ::munmap(room, reserved);
    errno = error;
    return nullptr;
  }
  if (aligned > start) ::munmap(start, static_cast<size_t>(aligned - start));
  if (const auto after = static_cast<size_t>(start + reserved - (aligned + bytes)); after > 0) {
    ::munmap(aligned + bytes, after);
  }
  return aligned;
}

uint64_t random_nonce() {
  uint64_t value = 0;
  while (value == 0) {
    if (::getrandom(&value, sizeof value, 0) != sizeof value && errno != EINTR) std::abort();
  }
  return value;
}

std::atomic<uint64_t> chosen_nonce{0};  // 0: not yet

[[maybe_unused]] const bool forgets_nonce = [] {
  on_fork_in_child([] { chosen_nonce.store(0); });
  return true;
}();

}  // namespace

uint64_t process_nonce() {
  uint64_t nonce = chosen_nonce.load(std::memory_order_relaxed);
  if (nonce != 0) return nonce;
  const uint64_t made = random_nonce();
  return chosen_nonce.compare_exchange_strong(nonce, made) ? made : nonce;
}

Result<SharedMapping> SharedMapping::create(uint64_t bytes, const char* purpose) {
  if (bytes == 0 || bytes > (uint64_t{1} << 46)) {
    return Status(Code::kSystemError,
                  fmt::format("{}: {} bytes of shared memory cannot be had", purpose, bytes));
  }
  bytes = round_up(bytes, kHugePage);
  UniqueFd fd = open_fd([&] { return ::memfd_create(purpose, MFD_CLOEXEC | MFD_ALLOW_SEALING); });
  if (!fd.valid()) {
    return Status(Code::kSystemError,
                  fmt::format("{}: memfd_create: {}; raise the limit of open files (ulimit -n)", purpose,
                              errno_text(errno)));
  }
  if (const int error = resize_without_signal(fd.get(), bytes); error != 0) {
    const char* advice =
        error == EFBIG ? "; the limit of file sizes (ulimit -f, RLIMIT_FSIZE) covers shared memory too" : "";
    return Status(Code::kSystemError, fmt::format("{}: cannot make shared memory of {} MiB: {}{}", purpose,
                                                  bytes >> 20, errno_text(error), advice));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return Status(Code::kSystemError,
                  fmt::format("{}: cannot seal shared memory: {}", purpose, errno_text(errno)));
  }
  std::byte* data = map_aligned(fd.get(), bytes);
  if (data == nullptr) {
    return Status(Code::kSystemError,
                  fmt::format("{}: cannot map {} MiB: {}; look at ulimit -v and vm.max_map_count", purpose,
                              bytes >> 20, errno_text(errno)));
  }
  return SharedMapping(std::move(fd), data, bytes);
}

Result<SharedMapping> SharedMapping::import(int fd) {
  struct stat about {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(fd, &about) != 0 || about.st_size <= 0) {
    return Status(Code::kInvalidArgument,
                  fmt::format("descriptor {} from a peer is not memory sealed against shrinking", fd));
  }
  const auto bytes = static_cast<uint64_t>(about.st_size);
  std::byte* data = map_aligned(fd, bytes);
  if (data == nullptr) {
    return Status(Code::kSystemError,
                  fmt::format("cannot map {} MiB of a peer's memory: {}; look at ulimit -v and "
                              "vm.max_map_count",
                              bytes >> 20, errno_text(errno)));
  }
  SharedMapping mapping(UniqueFd(), data, bytes);
  mapping.keep_from_children();
  return mapping;
}

SharedMapping::SharedMapping(SharedMapping&& other) noexcept
    : fd_(std::move(other.fd_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      era_(std::exchange(other.era_, 0)) {}

SharedMapping& SharedMapping::operator=(SharedMapping&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(era_, other.era_);
  return *this;
}

SharedMapping::~SharedMapping() {
  if (data_ != nullptr && era_ == fork_era()) ::munmap(data_, bytes_);
}

void SharedMapping::keep_from_children() {
  ::madvise(data_, bytes_, MADV_DONTFORK);
}

void SharedMapping::discard() {
  if (fd_.valid() && era_ == fork_era()) {
    ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes_));
  }
}

}  // namespace comity
