// Blocks of wildly unequal lengths, none among them, in all_gather and reduce_scatter: each path of the
// provider, in and out of place.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "src/base/clock.h"
#include "src/base/hash.h"
#include "src/device/host/arena.h"
#include "tests/support/shm_ranks.h"

namespace comity::test {
namespace {

// Memory that is anybody's (malloc's) or all members' (MemAlloc's).
class Words {
 public:
  Words(uint64_t count, bool registered) : count_(count) {
    if (!registered) {
      plain_.resize(count + 1);
      begin_ = plain_.data();
      return;
    }
    auto made = ArenaPool::instance().allocate((count + 1) * 8);
    if (!made.ok()) std::abort();
    registered_ = *made;
    begin_ = static_cast<uint64_t*>(registered_);
  }
  ~Words() {
    if (registered_ != nullptr) static_cast<void>(ArenaPool::instance().release(registered_));
  }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  uint64_t* begin() { return begin_; }
  uint64_t count() const { return count_; }

 private:
  uint64_t count_;
  std::vector<uint64_t> plain_;
  void* registered_ = nullptr;
  uint64_t* begin_ = nullptr;
};

struct Lengths {
  const char* name;
  std::vector<uint64_t> words;  // of each member's block
};

struct Way {
  const char* name;
  shm::ShmOptions options;
  bool registered;
};

uint64_t word(uint32_t rank, uint64_t block, uint64_t i) {
  return mix(rank * 1000 + block) + i;
}

class ShmLengths : public testing::TestWithParam<std::tuple<Lengths, Way>> {};

// One rank's buffers: one word or block for itself, and a block for each member, behind one another.
struct RankCall {
  RankCall(Collective collective, const std::vector<uint64_t>& lengths, uint32_t rank, bool registered,
           bool in_place)
      : gathers(collective == Collective::kAllGather), lengths_(lengths), rank_(rank) {
    uint64_t total = 0;
    for (const uint64_t length : lengths) total += length;
    blocks = std::make_unique<Words>(total, registered);
    one = std::make_unique<Words>(lengths[rank], registered);
    std::vector<Piece> many;
    uint64_t* at = blocks->begin();
    for (const uint64_t length : lengths) {
      many.push_back({reinterpret_cast<std::byte*>(at), length * 8});
      at += length;
    }
    const Piece single{in_place ? many[rank].data : reinterpret_cast<std::byte*>(one->begin()),
                       lengths[rank] * 8};
    if (!gathers) {
      for (uint32_t block = 0; block < lengths.size(); ++block) fill(many[block], block);
    } else {
      fill(single, rank);
    }
    src = gathers ? std::vector{single} : many;
    dst = gathers ? many : std::vector{single};
    call.collective = collective;
    call.type = DataType::kUint64;
    call.src = src;
    call.dst = dst;
  }
  void fill(const Piece& piece, uint64_t block) const {
    for (uint64_t i = 0; i < piece.bytes / 8; ++i) {
      const uint64_t value = word(rank_, block, i);
      std::memcpy(piece.data + i * 8, &value, 8);
    }
  }
  std::string wrong() const {
    for (size_t block = 0; block < dst.size(); ++block) {
      for (uint64_t i = 0; i < dst[block].bytes / 8; ++i) {
        uint64_t want = 0, got = 0;
        for (uint32_t r = 0; r < lengths_.size(); ++r) {
          if (!gathers || r == block) want += word(r, gathers ? block : rank_, i);
        }
        std::memcpy(&got, dst[block].data + i * 8, 8);
        if (got != want) return fmt::format("word {} of block {} of rank {}", i, block, rank_);
      }
    }
    return {};
  }
  bool gathers;
  std::unique_ptr<Words> blocks, one;
  std::vector<Piece> src, dst;
  GroupCall call;

 private:
  std::vector<uint64_t> lengths_;
  uint32_t rank_;
};

TEST_P(ShmLengths, AreCarriedOutBlockByBlock) {
  const auto& [lengths, way] = GetParam();
  const auto p = static_cast<uint32_t>(lengths.words.size());
  auto transports = make_shm_threads(p, way.options);
  std::vector<GroupProvider*> groups;
  for (auto& transport : transports) groups.push_back(transport->group(first_ranks(p)));
  uint64_t number = 0;
  for (const Collective collective : {Collective::kAllGather, Collective::kReduceScatter}) {
    for (const bool in_place : {false, true, false, true}) {
      std::vector<std::unique_ptr<RankCall>> calls;
      ++number;
      for (uint32_t r = 0; r < p; ++r) {
        calls.push_back(std::make_unique<RankCall>(collective, lengths.words, r, way.registered, in_place));
        calls[r]->call.signature = number;
        groups[r]->start(calls[r]->call);
      }
      std::vector<Progress> ends(p, Progress::kBusy);
      const Deadline deadline = Deadline::after_ms(60'000);
      for (uint32_t left = p; left != 0 && !deadline.passed();) {
        for (uint32_t r = 0; r < p; ++r) {
          if (!is_unfinished(ends[r])) continue;
          ends[r] = groups[r]->poll();
          if (!is_unfinished(ends[r])) --left;
        }
      }
      for (uint32_t r = 0; r < p; ++r) {
        ASSERT_EQ(ends[r], Progress::kDone) << name_of(collective) << " rank " << r;
        ASSERT_EQ(calls[r]->wrong(), "") << name_of(collective) << (in_place ? " in place" : "");
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Blocks, ShmLengths,
    testing::Combine(
        testing::Values(Lengths{"none_and_one", {0, 1}}, Lengths{"one_and_none", {1, 0}},
                        Lengths{"short_and_long", {1, 200'003}}, Lengths{"all_of_one", {0, 100'000, 0}},
                        Lengths{"first_and_none", {70'000, 0, 0}}, Lengths{"some_words", {3, 0, 1, 2}},
                        Lengths{"wild", {0, 1, 5000, 0, 90'001, 17}}, Lengths{"nothing", {0, 0, 0}}),
        testing::Values(Way{"direct", {true, false, 64}, true}, Way{"plain", {true, false, 64}, false},
                        Way{"staged", {false, false, 64}, false}, Way{"crowded", {false, false, 1}, false},
                        Way{"cross", {false, true, 64}, false})),
    [](const testing::TestParamInfo<std::tuple<Lengths, Way>>& tested) {
      return fmt::format("{}_{}", std::get<0>(tested.param).name, std::get<1>(tested.param).name);
    });

}  // namespace
}  // namespace comity::test
