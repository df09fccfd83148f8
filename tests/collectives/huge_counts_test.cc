// Counts beyond 2^31 elements per rank. COMITY_TEST_FULL=1: 2^31 + 7 bytes, which takes up to 9 GiB and
// minutes; else the same calls on 2^22 + 7.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/effort.h"
#include "tests/support/ranks.h"

namespace comity::test {
namespace {

constexpr int kRanks = 2;
// A prime, so that no block of a plan or page begins where the content repeats.
constexpr size_t kPeriod = 65'537;

size_t count() {
  return (full_effort() ? size_t{1} << 31 : size_t{1} << 22) + 7;
}

// What rank r contributes, over one period; small enough that two add up within int8.
std::vector<int8_t> contribution(int r) {
  std::vector<int8_t> period(kPeriod);
  for (size_t i = 0; i < kPeriod; ++i)
    period[i] = static_cast<int8_t>((i * 7 + i / 251 + static_cast<size_t>(r) * 13) % 61);
  return period;
}

std::vector<int8_t> sum() {
  std::vector<int8_t> total = contribution(0);
  const std::vector<int8_t> other = contribution(1);
  for (size_t i = 0; i < kPeriod; ++i) total[i] = static_cast<int8_t>(total[i] + other[i]);
  return total;
}

void fill(int8_t* to, size_t bytes, const std::vector<int8_t>& period) {
  for (size_t at = 0; at < bytes; at += kPeriod) {
    std::memcpy(to + at, period.data(), std::min(kPeriod, bytes - at));
  }
}

// The content from element `first` of the periodic sequence on; the index of the first wrong byte, or -1.
int64_t first_wrong(const int8_t* got, size_t bytes, const std::vector<int8_t>& period, size_t first = 0) {
  for (size_t at = 0; at < bytes;) {
    const size_t place = (first + at) % kPeriod;
    const size_t run = std::min(kPeriod - place, bytes - at);
    if (std::memcmp(got + at, period.data() + place, run) != 0) {
      for (size_t i = 0; i < run; ++i) {
        if (got[at + i] != period[place + i]) return static_cast<int64_t>(at + i);
      }
    }
    at += run;
  }
  return -1;
}

struct Kind {
  const char* transport;
  bool registered;
};

class HugeCounts : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { setenv("COMITY_TRANSPORTS", GetParam().transport, 1); }
  void TearDown() override { unsetenv("COMITY_TRANSPORTS"); }

  // A buffer per rank.
  void allocate(size_t bytes) {
    for (int r = 0; r < kRanks; ++r) {
      void* memory = nullptr;
      if (GetParam().registered) {
        ASSERT_EQ(comityMemAlloc(&memory, bytes), comitySuccess) << comityGetLastError(nullptr);
        buffers_.emplace_back(static_cast<int8_t*>(memory), [](int8_t* p) { (void)comityMemFree(p); });
      } else {
        memory = std::malloc(bytes);
        ASSERT_NE(memory, nullptr);
        buffers_.emplace_back(static_cast<int8_t*>(memory), [](int8_t* p) { std::free(p); });
      }
    }
  }
  int8_t* at(int r) { return buffers_[static_cast<size_t>(r)].get(); }

  // call(rank, communicator) on a thread for each rank; all must succeed.
  template <typename Call>
  void run(Call call) {
    Ranks ranks(kRanks);
    ranks.run([&](int r, comityComm_t comm) {
      EXPECT_EQ(call(r, comm), comitySuccess) << "rank " << r << ": " << comityGetLastError(comm);
    });
  }

  std::vector<std::unique_ptr<int8_t, void (*)(int8_t*)>> buffers_;
};

TEST_P(HugeCounts, AllReduce) {
  ASSERT_NO_FATAL_FAILURE(allocate(count()));
  for (int r = 0; r < kRanks; ++r) fill(at(r), count(), contribution(r));
  run([&](int r, comityComm_t comm) {
    return comityAllReduce(at(r), at(r), count(), comityInt8, comitySum, comm, nullptr);
  });
  for (int r = 0; r < kRanks; ++r) EXPECT_EQ(first_wrong(at(r), count(), sum()), -1) << "rank " << r;
}

TEST_P(HugeCounts, Reduce) {
  ASSERT_NO_FATAL_FAILURE(allocate(count()));
  for (int r = 0; r < kRanks; ++r) fill(at(r), count(), contribution(r));
  run([&](int r, comityComm_t comm) {
    return comityReduce(at(r), at(r), count(), comityInt8, comitySum, 1, comm, nullptr);
  });
  EXPECT_EQ(first_wrong(at(1), count(), sum()), -1);
}

TEST_P(HugeCounts, Broadcast) {
  ASSERT_NO_FATAL_FAILURE(allocate(count()));
  fill(at(1), count(), contribution(1));
  run([&](int r, comityComm_t comm) {
    return comityBroadcast(at(r), at(r), count(), comityInt8, 1, comm, nullptr);
  });
  EXPECT_EQ(first_wrong(at(0), count(), contribution(1)), -1);
}

TEST_P(HugeCounts, AllGather) {
  ASSERT_NO_FATAL_FAILURE(allocate(kRanks * count()));
  for (int r = 0; r < kRanks; ++r) fill(at(r) + static_cast<size_t>(r) * count(), count(), contribution(r));
  run([&](int r, comityComm_t comm) {
    return comityAllGather(at(r) + static_cast<size_t>(r) * count(), at(r), count(), comityInt8, comm,
                           nullptr);
  });
  for (int r = 0; r < kRanks; ++r) {
    for (int from = 0; from < kRanks; ++from) {
      EXPECT_EQ(first_wrong(at(r) + static_cast<size_t>(from) * count(), count(), contribution(from)), -1)
          << "block " << from << " of rank " << r;
    }
  }
}

TEST_P(HugeCounts, ReduceScatter) {
  ASSERT_NO_FATAL_FAILURE(allocate(kRanks * count()));
  for (int r = 0; r < kRanks; ++r) fill(at(r), kRanks * count(), contribution(r));
  run([&](int r, comityComm_t comm) {
    return comityReduceScatter(at(r), at(r) + static_cast<size_t>(r) * count(), count(), comityInt8,
                               comitySum, comm, nullptr);
  });
  for (int r = 0; r < kRanks; ++r) {
    const size_t begin = static_cast<size_t>(r) * count();
    EXPECT_EQ(first_wrong(at(r) + begin, count(), sum(), begin), -1) << "rank " << r;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, HugeCounts,
                         testing::Values(Kind{"shm", false}, Kind{"shm", true}, Kind{"tcp", false}),
                         [](const auto& each) {
                           return std::string(each.param.transport) +
                                  (each.param.registered ? "_registered" : "_plain");
                         });

}  // namespace
}  // namespace comity::test
