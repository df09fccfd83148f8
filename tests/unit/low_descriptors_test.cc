// A process that closed 0, 1 and 2: no descriptor of ours takes their place.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "src/api/id_file.h"
#include "src/base/socket.h"
#include "src/base/unique_fd.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

// Closes standard input, output and error for its lifetime, and puts them back. Nothing may be printed
// meanwhile.
class ClosedStdio {
 public:
  ClosedStdio() {
    for (int fd = 0; fd <= 2; ++fd) {
      kept_[fd] = ::fcntl(fd, F_DUPFD_CLOEXEC, 10);
      ::close(fd);
    }
  }
  ~ClosedStdio() {
    for (int fd = 0; fd <= 2; ++fd) {
      ::dup2(kept_[fd], fd);
      ::close(kept_[fd]);
    }
  }

 private:
  int kept_[3];
};

TEST(LowDescriptors, ADescriptorOfOursIsThreeOrAboveAndTheLowOneIsFreeAgain) {
  int made = -1, flags = -1, low = -1;
  {
    const ClosedStdio closed;
    const UniqueFd ours = open_fd([] { return ::eventfd(0, EFD_CLOEXEC); });
    made = ours.get();
    flags = ::fcntl(made, F_GETFD);
    low = ::fcntl(0, F_GETFD);
  }
  EXPECT_GE(made, 3);
  EXPECT_EQ(flags, FD_CLOEXEC);
  EXPECT_EQ(low, -1);
}

TEST(LowDescriptors, SocketsAndReceivedDescriptorsAreThreeOrAbove) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd sender(ends[0]), receiver(ends[1]);
  char payload = 'x';
  iovec part{&payload, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int passed = sender.get();
  std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  ASSERT_EQ(::sendmsg(sender.get(), &message, 0), 1);

  std::vector<int> made;
  {
    const ClosedStdio closed;
    UniqueFd received;
    std::byte into[4];
    if (receive_with_descriptor(receiver.get(), into, received) == 1) made.push_back(received.get());
    const auto listener = listen_on(*SocketAddress::parse("127.0.0.1:0"), 1);
    const auto to = local_address_of(listener->get());
    const auto dialled = connect_to(to, nullptr);
    Deadline deadline = Deadline::after_ms(10'000);
    UniqueFd accepted;
    while (!accepted.valid() && !deadline.passed()) accepted = accept_from(listener->get()).value();
    made.insert(made.end(), {listener->get(), dialled->get(), accepted.get()});
  }
  ASSERT_EQ(made.size(), 4u);
  for (const int fd : made) EXPECT_GE(fd, 3);
}

class LowDescriptorsOver : public testing::TestWithParam<const char*> {};

TEST_P(LowDescriptorsOver, DaemonsThatPrintAllTheTimeGetRightResults) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "needs a build without UBSan, whose pipes for checks of its own come to lie at 0 to 2";
#endif
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  std::vector<Child> children;
  for (int rank = 0; rank < 3; ++rank) {
    children.emplace_back(std::vector<std::string>{program_folder() + "closed_stdio_worker",
                                                   std::to_string(rank), "3", api::hex_of(id)},
                          std::vector<std::pair<std::string, std::string>>{{"COMITY_TRANSPORTS", GetParam()},
                                                                           {"COMITY_LOG", "debug"}});
  }
  for (Child& child : children) {
    const auto [status, output] = child.finish(Deadline::after_ms(120'000));
    EXPECT_EQ(status, 0) << output;
    EXPECT_EQ(output, "right\n");
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, LowDescriptorsOver, testing::Values("tcp", "shm"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace comity::test
