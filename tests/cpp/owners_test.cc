// What the owners of comity.hpp hold, and when they give it back.
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "tests/cpp/ranks.h"

namespace comity::test {
namespace {

TEST(CppGroup, OneThreadDrivesAllRanks) {
  auto comms = Communicator::init_all(3);
  ASSERT_TRUE(worked(comms));
  std::array<int, 3> values = {1, 10, 100};
  Group group;
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(worked((*comms)[i].all_reduce(std::span(values).subspan(i, 1))));
  }
  ASSERT_TRUE(worked(group.end()));
  EXPECT_EQ(values, (std::array<int, 3>{111, 111, 111}));
}

TEST(CppGroup, ThatGoesWithoutItsEndCarriesOutNothing) {
  auto comms = Communicator::init_all(2);
  ASSERT_TRUE(worked(comms));
  std::array<int, 2> values = {1, 10};
  {
    const Group dropped;
    // A group that was carried out would wait here for rank 1 for ever.
    ASSERT_TRUE(worked((*comms)[0].all_reduce(std::span(values).first(1))));
  }
  Group group;
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(worked((*comms)[i].all_reduce(std::span(values).subspan(i, 1))));
  }
  ASSERT_TRUE(worked(group.end()));
  EXPECT_EQ(values, (std::array<int, 2>{11, 11}));
}

TEST(CppGroup, WithARefusedSizeIsNotCarriedOutAndTellsIt) {
  auto comms = Communicator::init_all(2);
  ASSERT_TRUE(worked(comms));
  std::vector<int> values = {1, 2, 3};
  Group outer;
  ASSERT_TRUE(worked((*comms)[0].all_reduce(values)));
  Group inner;
  EXPECT_FALSE((*comms)[1].all_reduce(values, std::span(values).first(2)));
  EXPECT_TRUE(worked(inner.end()));
  const auto ended = outer.end();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, comityInvalidArgument);
  EXPECT_EQ(ended.error().message, "all_reduce: send holds 3 elements, recv 2; they must be equally long");
  EXPECT_EQ(values, (std::vector<int>{1, 2, 3}));
  // The next group starts afresh.
  Group next;
  EXPECT_TRUE(worked(next.end()));
  EXPECT_EQ(next.end().error().code, comityInvalidUsage);
}

TEST(CppGroup, MakesCommunicatorsAtItsEnd) {
  const auto id = unique_id();
  ASSERT_TRUE(worked(id));
  Group group;
  auto first = Communicator::init(2, *id, 0), second = Communicator::init(2, *id, 1);
  ASSERT_TRUE(worked(first));
  EXPECT_FALSE(*first);
  EXPECT_EQ(first->rank(), -1);
  Communicator moved = std::move(*first);
  ASSERT_TRUE(worked(group.end()));
  EXPECT_EQ(moved.rank(), 0);
  EXPECT_EQ(second->rank(), 1);
  EXPECT_EQ(second->nranks(), 2);
}

TEST(CppGroup, MakesAllRanksAtItsEnd) {
  Group group;
  auto comms = Communicator::init_all(3);
  ASSERT_TRUE(worked(comms));
  ASSERT_EQ(comms->size(), 3u);
  EXPECT_FALSE(comms->front());
  ASSERT_TRUE(worked(group.end()));
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ((*comms)[static_cast<size_t>(rank)].rank(), rank);
}

TEST(CppGroup, MayOutliveACommunicatorThatItMakes) {
  const auto id = unique_id();
  ASSERT_TRUE(worked(id));
  Group group;
  { const auto gone = Communicator::init(1, *id, 0); }
  EXPECT_TRUE(worked(group.end()));
}

TEST(CppCommunicator, ThatIsNoneRefusesCalls) {
  Communicator none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.rank(), -1);
  EXPECT_EQ(none.barrier().error().code, comityInvalidArgument);
  EXPECT_TRUE(worked(none.abort()));
}

TEST(CppCommunicator, InitTellsWhyItFailed) {
  const auto id = unique_id();
  ASSERT_TRUE(worked(id));
  const auto failed = Communicator::init(2, *id, 5);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, comityInvalidArgument);
  EXPECT_NE(failed.error().message.find("rank 5"), std::string::npos) << failed.error().message;
  EXPECT_EQ(Communicator::init_all(0).error().code, comityInvalidArgument);
  const std::array<int, 1> devices = {0};
  EXPECT_EQ(Communicator::init_all(2, devices).error().code, comityInvalidArgument);
}

TEST(CppCommunicator, AbortEndsACallOfAnotherThread) {
  auto comms = Communicator::init_all(2);
  ASSERT_TRUE(worked(comms));
  std::optional<Error> error;
  std::thread waits([&] {
    const auto barrier = (*comms)[0].barrier();
    if (!barrier) error = barrier.error();
  });
  EXPECT_TRUE(worked((*comms)[0].async_state()));
  EXPECT_TRUE(worked((*comms)[0].abort()));
  waits.join();
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->code == comityRemoteError || error->code == comityInvalidArgument) << error->message;
  EXPECT_TRUE(worked((*comms)[0].abort()));  // it has ended already
}

TEST(CppCommunicator, DestroyTellsItsErrorAndLeavesNone) {
  auto comms = Communicator::init_all(1);
  ASSERT_TRUE(worked(comms));
  Communicator& comm = comms->front();
  EXPECT_TRUE(worked(comm.destroy()));
  EXPECT_EQ(comm.barrier().error().code, comityInvalidArgument);
}

TEST(CppRegistration, IsARangeAndIsTakenBackInAnyOrder) {
  std::vector<double> memory = {1, 2};
  auto comms = Communicator::init_all(1);
  ASSERT_TRUE(worked(comms));
  auto first = comms->front().register_memory(memory);
  auto second = comms->front().register_memory(std::span(memory).first(1));
  ASSERT_TRUE(worked(first));
  ASSERT_TRUE(worked(second));
  EXPECT_TRUE(worked(comms->front().all_reduce(*first)));
  EXPECT_EQ((*first)[1], 2.0);
  Registration<double> moved = std::move(*first);
  EXPECT_EQ(moved.data(), memory.data());
  comms->clear();  // the communicator goes first; what is left takes back nothing
  EXPECT_EQ(moved.size(), 2u);
}

TEST(CppBuffer, MovesAndIsEmptyThen) {
  auto made = Buffer<int>::allocate(3);
  ASSERT_TRUE(worked(made));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made->data()) % 128, 0u);
  Buffer<int> moved = std::move(*made);
  EXPECT_EQ(moved.size(), 3u);
  EXPECT_TRUE(made->empty());
  EXPECT_TRUE(Buffer<int>::allocate(0)->empty());
  EXPECT_EQ(Buffer<int>::allocate(SIZE_MAX / 2).error().code, comityInvalidArgument);
}

}  // namespace
}  // namespace comity::test
