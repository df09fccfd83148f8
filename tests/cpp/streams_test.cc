// Streams and events of comity.hpp: what is enqueued is carried out in order, and told when it has ended.
#include <optional>
#include <utility>
#include <vector>

#include "tests/cpp/ranks.h"

namespace comity::test {
namespace {

TEST(CppStream, CarriesOutCallsInOrder) {
  on_ranks(2, [](Communicator& comm) {
    auto stream = Stream::create();
    ASSERT_TRUE(worked(stream));
    std::vector<int> values(1000, comm.rank() + 1);
    ASSERT_TRUE(worked(comm.all_reduce(values, Op::sum, *stream)));   // 3
    ASSERT_TRUE(worked(comm.all_reduce(values, Op::prod, *stream)));  // 9
    ASSERT_TRUE(worked(stream->synchronize()));
    EXPECT_EQ(values, std::vector<int>(1000, 9));
    const auto ended = stream->query();
    ASSERT_TRUE(worked(ended));
    EXPECT_TRUE(*ended);
  });
}

TEST(CppStream, WaitsForAnEventOfAnother) {
  on_ranks(2, [](Communicator& comm) {
    auto first = Stream::create(), second = Stream::create();
    auto event = Event::create();
    ASSERT_TRUE(first && second && event);
    EXPECT_TRUE(*event->query());  // never recorded
    std::vector<int> values = {comm.rank() + 1};
    ASSERT_TRUE(worked(comm.all_reduce(values, Op::sum, *first)));
    ASSERT_TRUE(worked(event->record(*first)));
    ASSERT_TRUE(worked(second->wait(*event)));
    ASSERT_TRUE(worked(comm.all_reduce(values, Op::prod, *second)));
    ASSERT_TRUE(worked(second->synchronize()));
    EXPECT_EQ(values[0], 9);
    EXPECT_TRUE(worked(event->synchronize()));
    EXPECT_TRUE(*event->query());
  });
}

TEST(CppStream, MovesAndMayGoWhileItsCallsAreCarriedOut) {
  on_ranks(2, [](Communicator& comm) {
    std::vector<int> values = {comm.rank() + 1};
    auto event = Event::create();
    ASSERT_TRUE(worked(event));
    {
      auto made = Stream::create();
      ASSERT_TRUE(worked(made));
      Stream stream = std::move(*made);
      EXPECT_EQ(made->native(), nullptr);
      ASSERT_TRUE(worked(comm.all_reduce(values, Op::sum, stream)));
      ASSERT_TRUE(worked(event->record(stream)));
    }
    ASSERT_TRUE(worked(event->synchronize()));
    EXPECT_EQ(values[0], 3);
  });
}

TEST(CppStream, ASizeThatDoesNotFitIsNotEnqueued) {
  on_ranks(2, [](Communicator& comm) {
    auto stream = Stream::create();
    ASSERT_TRUE(worked(stream));
    std::vector<int> two(2), three(3);
    EXPECT_EQ(comm.all_reduce(two, three, Op::sum, *stream).error().code, comityInvalidArgument);
    EXPECT_TRUE(worked(stream->synchronize()));
  });
}

}  // namespace
}  // namespace comity::test
