// Descriptors of memory passed between processes, and refused to strangers.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "src/control/descriptor_fetch.h"
#include "tests/support/control_process.h"
#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::ControlProcess;
using testing::join_options;

// This process is rank 0 and asks; the worker is rank 1 and owns memory that holds "hello".
class ControlDescriptor : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto id = create_unique_id();
    ASSERT_TRUE(id.ok()) << id.status().message();
    owner_ = std::make_unique<ControlProcess>(*id, 1, 2);
    auto session = Session::join(join_options(*id, 0, 2));
    ASSERT_TRUE(session.ok()) << session.status().message();
    session_ = std::move(session).value();
    ASSERT_EQ(owner_->hear(), "joined");
    name_ = owner_->ask("serve hello");
  }
  Result<UniqueFd> fetch(uint32_t arena, const Secret& secret, uint64_t communicator) {
    return fetch_descriptor({name_, {arena, {}}, secret, communicator, Deadline::after_ms(10'000)});
  }
  std::unique_ptr<ControlProcess> owner_;
  std::unique_ptr<Session> session_;
  std::string name_;
};

TEST_F(ControlDescriptor, PassesTheMemoryOfAnotherProcess) {
  for (int round = 0; round < 3; ++round) {
    const auto fd = fetch(1, session_->data_secret(), session_->communicator_id());
    ASSERT_TRUE(fd.ok()) << fd.status().message();
    char text[6] = {};
    EXPECT_EQ(::pread(fd->get(), text, 5, 0), 5);
    EXPECT_STREQ(text, "hello");
  }
}

TEST_F(ControlDescriptor, SaysWhichOfTheMappedArenasAreGone) {
  DescriptorFetch fetch(
      {name_, {1, {1, 2, 3}}, session_->data_secret(), session_->communicator_id(), Deadline::never()});
  const Deadline deadline = Deadline::after_ms(60'000);
  auto polled = fetch.poll();
  for (; polled.ok() && !polled->has_value() && !deadline.passed(); polled = fetch.poll()) fetch.wait(100);
  ASSERT_TRUE(polled.ok()) << polled.status().message();
  EXPECT_TRUE(polled->has_value());
  EXPECT_EQ(fetch.gone(), (std::vector<uint32_t>{2, 3}));
}

// Whoever waits looks at other things meanwhile, for as long as it takes.
TEST_F(ControlDescriptor, WaitsForAStoppedOwnerWithoutBlocking) {
  owner_->stop();
  DescriptorFetch fetch(
      {name_, {1, {}}, session_->data_secret(), session_->communicator_id(), Deadline::never()});
  const uint64_t began = now_ns();
  for (int i = 0; i < 1000; ++i) {
    const auto polled = fetch.poll();
    ASSERT_TRUE(polled.ok()) << polled.status().message();
    ASSERT_FALSE(polled->has_value());
  }
  EXPECT_LT(now_ns() - began, 5'000'000'000u);
  owner_->signal(SIGCONT);
  const Deadline deadline = Deadline::after_ms(60'000);
  auto polled = fetch.poll();
  for (; polled.ok() && !polled->has_value() && !deadline.passed(); polled = fetch.poll()) fetch.wait(100);
  ASSERT_TRUE(polled.ok()) << polled.status().message();
  EXPECT_TRUE(polled->has_value());
}

TEST_F(ControlDescriptor, NamesAnArenaThatDoesNotExist) {
  const auto fd = fetch(2, session_->data_secret(), session_->communicator_id());
  EXPECT_EQ(fd.status().code(), Code::kInvalidArgument);
  EXPECT_NE(fd.status().message().find("no arena 2"), std::string::npos) << fd.status().message();
}

TEST_F(ControlDescriptor, RefusesAWrongSecret) {
  Secret wrong = session_->data_secret();
  wrong[0] ^= std::byte{1};
  const auto fd = fetch(1, wrong, session_->communicator_id());
  EXPECT_EQ(fd.status().code(), Code::kRemoteError) << fd.status().message();
}

TEST_F(ControlDescriptor, RefusesACommunicatorThatIsNotAliveThere) {
  EXPECT_EQ(fetch(1, session_->data_secret(), session_->communicator_id() + 1).status().code(),
            Code::kRemoteError);
  EXPECT_EQ(owner_->ask("leave"), "left");
  EXPECT_EQ(fetch(1, session_->data_secret(), session_->communicator_id()).status().code(),
            Code::kRemoteError);
}

TEST_F(ControlDescriptor, TimesOutOnAStoppedOwnerAndFailsOnADeadOne) {
  owner_->stop();
  const auto late = fetch_descriptor(
      {name_, {1, {}}, session_->data_secret(), session_->communicator_id(), Deadline::after_ms(100)});
  EXPECT_EQ(late.status().code(), Code::kTimeout) << late.status().message();
  owner_->signal(SIGKILL);
  ASSERT_EQ(owner_->wait_end(), 128 + SIGKILL);
  EXPECT_EQ(fetch(1, session_->data_secret(), session_->communicator_id()).status().code(),
            Code::kRemoteError);
}

TEST_F(ControlDescriptor, ANonsenseNameIsRefused) {
  const std::string long_name(200, 'x');
  const auto fd = fetch_descriptor(
      {long_name, {1, {}}, session_->data_secret(), session_->communicator_id(), Deadline::after_ms(1000)});
  EXPECT_EQ(fd.status().code(), Code::kInvalidArgument);
}

TEST(ControlDescriptorOfThreads, RanksOfOneProcessCanAskThemselves) {
  const testing::Joined joined = testing::join_all(2);
  ASSERT_TRUE(joined.all()) << joined.text();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  serve_descriptors([&](uint32_t) -> Result<UniqueFd> { return UniqueFd(::dup(read_end.get())); });
  const auto name = descriptor_socket_name();
  ASSERT_TRUE(name.ok()) << name.status().message();
  const auto fd = fetch_descriptor({*name,
                                    {1, {}},
                                    joined.sessions[1]->data_secret(),
                                    joined.sessions[1]->communicator_id(),
                                    Deadline::after_ms(10'000)});
  serve_descriptors(nullptr);
  ASSERT_TRUE(fd.ok()) << fd.status().message();
  struct stat original;
  struct stat received;
  ASSERT_EQ(::fstat(read_end.get(), &original), 0);
  ASSERT_EQ(::fstat(fd->get(), &received), 0);
  EXPECT_EQ(original.st_ino, received.st_ino);
  EXPECT_NE(fd->get(), read_end.get());
}

}  // namespace
}  // namespace comity::control
