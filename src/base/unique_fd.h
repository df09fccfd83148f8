// A file descriptor with one owner, and how one of ours is made.
//
// A process may run with 0, 1 or 2 closed (daemons do). The kernel would give the next socket or memory file
// that number, and what the program or its libraries print would go to a peer or into a buffer. So every
// descriptor that the library makes passes through open_fd() or own_fd(), which moves it to 3 or above; the
// house test finds others. They also keep the list by which a child of fork() closes what it inherited: see
// fork.h.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <utility>

namespace comity {

class UniqueFd {
 public:
  UniqueFd() = default;
  // Takes over a descriptor that somebody else made (a test, a program), as it is.
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), era_(std::exchange(other.era_, 0)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
      era_ = std::exchange(other.era_, 0);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Gives the descriptor to the caller. One of ours is ours no longer: a child of fork() keeps it.
  int release();
  // One that was made before a fork is not closed in the child: the number may be somebody else's there.
  void reset(int fd = -1);

 private:
  friend UniqueFd own_fd(int fd);
  UniqueFd(int fd, uint32_t era) : fd_(fd), era_(era) {}

  int fd_ = -1;
  uint32_t era_ = 0;  // fork_era() when it became ours; 0: it is not on the list
};

// While one lives, no fork() comes between the making of a descriptor and own_fd(). Any thread; brief; does
// not nest.
class DescriptorGate {
 public:
  DescriptorGate();
  ~DescriptorGate();
  DescriptorGate(const DescriptorGate&) = delete;
  DescriptorGate& operator=(const DescriptorGate&) = delete;
};

// Makes a new descriptor ours: moves it up if it is 0, 1 or 2 (close-on-exec is set then), and puts it on the
// list. Without a DescriptorGate a child forked in between keeps it, which is right for files that are only
// read. A negative one gives an invalid UniqueFd; so does one that cannot be moved (errno: EMFILE), which is
// closed. Else errno stays.
UniqueFd own_fd(int fd);

// A new descriptor of ours from `make`, which returns it, close-on-exec, or -1 with errno:
//   open_fd([] { return ::eventfd(0, EFD_CLOEXEC); })
template <typename Make>
UniqueFd open_fd(Make make) {
  const DescriptorGate gate;
  return own_fd(make());
}

}  // namespace comity
