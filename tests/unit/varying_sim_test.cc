// v-variants over the simulated network: zero, equal and wildly unequal blocks, on host and device memory,
// bit for bit; and lengths that differ.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>

#include "src/device/registry.h"
#include "tests/support/sim_world.h"

namespace comity::test {
namespace {

using engine::Call;
using Lengths = std::vector<uint64_t>;  // elements

DeviceRegistry& registry() {
  static DeviceRegistry& instance = *[] {
    auto made = DeviceRegistry::open("host,sim");
    if (!made.ok()) std::abort();
    return made->release();
  }();
  return instance;
}

int32_t value(uint32_t from, uint32_t to, uint64_t index) {
  return static_cast<int32_t>(from * 1'000'003 + to * 10'007 + index);
}

// Blocks in a buffer, apart from each other by some elements that nobody may touch.
struct Blocks {
  Lengths bytes, offsets;
  uint64_t elements = 0;

  explicit Blocks(const Lengths& counts, uint64_t gap) {
    for (const uint64_t count : counts) {
      bytes.push_back(count * sizeof(int32_t));
      offsets.push_back((elements + gap) * sizeof(int32_t));
      elements += gap + count;
    }
  }
  engine::BlockTable view() const { return {bytes, offsets}; }
  uint64_t first(uint32_t block) const { return offsets[block] / sizeof(int32_t); }
  uint64_t count(uint32_t block) const { return bytes[block] / sizeof(int32_t); }
};

// Memory of a device, filled and read through the host.
class Memory {
 public:
  Memory(Device& device, std::vector<int32_t> content) : device_(device), content_(std::move(content)) {
    auto memory = device.allocate(bytes() + 64);
    EXPECT_TRUE(memory.ok()) << memory.status().message();
    data_ = *memory;
    move(data_, content_.data());
  }
  ~Memory() { EXPECT_TRUE(device_.release(data_).ok()); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  const std::vector<int32_t>& read() {
    move(content_.data(), data_);
    return content_;
  }

 private:
  uint64_t bytes() const { return content_.size() * sizeof(int32_t); }
  void move(void* to, const void* from) {
    if (bytes() == 0) return;
    auto token = device_.copy(0, to, from, bytes());
    ASSERT_TRUE(token.ok());
    for (auto done = device_.poll(0, *token); !*done; done = device_.poll(0, *token)) ASSERT_TRUE(done.ok());
  }

  Device& device_;
  std::vector<int32_t> content_;
  void* data_ = nullptr;
};

constexpr int32_t kUntouched = -7;

// What one rank gives and must get. lengths[s][r]: elements from s to r.
class RankCall {
 public:
  RankCall(Collective collective, const std::vector<Lengths>& lengths, uint32_t root, uint32_t rank,
           Device& device)
      : collective_(collective), lengths_(lengths), root_(root), rank_(rank) {
    const auto nranks = static_cast<uint32_t>(lengths.size());
    Lengths sends(nranks), receives(nranks);
    for (uint32_t peer = 0; peer < nranks; ++peer) {
      sends[peer] = lengths[rank][peer];
      receives[peer] = lengths[peer][rank];
    }
    call_.collective = collective;
    call_.type = DataType::kInt32;
    call_.root = root;
    const Collective base = planned_as(collective);
    if (has_input_blocks(collective) && !(is_rooted(collective) && rank != root)) inputs_.emplace(sends, 3);
    if (has_output_blocks(collective) && !(is_rooted(collective) && rank != root))
      outputs_.emplace(receives, 2);
    const bool to_all = base == Collective::kAllGather, from_all = base == Collective::kReduceScatter;
    if (base == Collective::kGather) call_.count = lengths[rank][root];
    if (base == Collective::kScatter) call_.count = lengths[root][rank];
    if (to_all) call_.count = lengths[rank][0];
    if (from_all) call_.count = lengths[0][rank];
    input_.emplace(device, fill_input());
    want_ = expected();
    output_.emplace(device, std::vector<int32_t>(want_.size(), kUntouched));
    if (inputs_) call_.input_blocks = inputs_->view();
    if (outputs_) call_.output_blocks = outputs_->view();
    call_.input = gives_from_root(collective) && rank != root ? nullptr : input_->data();
    call_.output = takes_to_root(collective) && rank != root ? nullptr : output_->data();
  }
  Call& call() { return call_; }
  bool right() { return output_->read() == want_; }

 private:
  // Elements for `to` come from `from`; all-gather gives the same to all.
  int32_t sent(uint32_t from, uint32_t to, uint64_t index) const {
    return value(from, collective_ == Collective::kAllGatherV ? 0 : to, index);
  }
  std::vector<int32_t> fill_input() const {
    if (!inputs_) {
      std::vector<int32_t> input(call_.count);
      for (uint64_t i = 0; i < input.size(); ++i) input[i] = sent(rank_, root_, i);
      return input;
    }
    std::vector<int32_t> input(inputs_->elements, 99);
    for (uint32_t to = 0; to < lengths_.size(); ++to) {
      for (uint64_t i = 0; i < inputs_->count(to); ++i) input[inputs_->first(to) + i] = sent(rank_, to, i);
    }
    return input;
  }
  std::vector<int32_t> expected() const {
    if (takes_to_root(collective_) && rank_ != root_) return {};
    if (outputs_) {
      std::vector<int32_t> output(outputs_->elements, kUntouched);
      for (uint32_t from = 0; from < lengths_.size(); ++from) {
        for (uint64_t i = 0; i < outputs_->count(from); ++i)
          output[outputs_->first(from) + i] = sent(from, rank_, i);
      }
      return output;
    }
    std::vector<int32_t> output(call_.count);
    for (uint64_t i = 0; i < output.size(); ++i) {
      if (collective_ == Collective::kScatterV) output[i] = sent(root_, rank_, i);
      for (uint32_t from = 0; collective_ == Collective::kReduceScatterV && from < lengths_.size(); ++from)
        output[i] += sent(from, rank_, i);
    }
    return output;
  }

  Collective collective_;
  const std::vector<Lengths>& lengths_;
  uint32_t root_, rank_;
  std::optional<Blocks> inputs_, outputs_;
  std::optional<Memory> input_, output_;
  std::vector<int32_t> want_;
  Call call_;
};

// Lengths among ranks: the vector of a collective that gives all ranks all lengths is the row or column that
// it uses, repeated.
std::vector<Lengths> lengths_of(Collective collective, const std::vector<Lengths>& pairs) {
  std::vector<Lengths> lengths = pairs;
  for (uint32_t s = 0; s < pairs.size(); ++s) {
    for (uint32_t r = 0; r < pairs.size(); ++r) {
      if (collective == Collective::kAllGatherV) lengths[s][r] = pairs[s][0];
      if (collective == Collective::kReduceScatterV) lengths[s][r] = pairs[0][r];
    }
  }
  return lengths;
}

void run_varying(uint32_t nranks, uint64_t seed, Device& device) {
  constexpr uint64_t kCounts[] = {0, 0, 1, 3, 257, 5000, 300'000};
  std::mt19937_64 random(seed);
  std::vector<Lengths> pairs(nranks, Lengths(nranks));
  for (Lengths& row : pairs) {
    for (uint64_t& count : row) count = kCounts[random() % std::size(kCounts)];
  }
  if (seed % 7 == 0) pairs.assign(nranks, Lengths(nranks, 0));
  SimWorldOptions options;
  options.nranks = nranks;
  options.seed = seed;
  options.devices = &registry();
  SimWorld world(options);
  for (const Collective collective : {Collective::kAllGatherV, Collective::kReduceScatterV,
                                      Collective::kAllToAllV, Collective::kGatherV, Collective::kScatterV}) {
    const auto lengths = lengths_of(collective, pairs);
    const auto root = static_cast<uint32_t>(seed % nranks);
    std::vector<std::unique_ptr<RankCall>> ranks;
    std::vector<Call> calls;
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      ranks.push_back(std::make_unique<RankCall>(collective, lengths, root, rank, device));
      calls.push_back(ranks.back()->call());
    }
    const Status status = world.run(calls);
    ASSERT_TRUE(status.ok()) << name_of(collective) << " seed " << seed << ": " << status.message();
    for (uint32_t rank = 0; rank < nranks; ++rank)
      ASSERT_TRUE(ranks[rank]->right()) << name_of(collective) << " seed " << seed << ", rank " << rank;
  }
}

TEST(Varying, AnyLengthsGiveExactResultsOnHostMemory) {
  for (const uint32_t nranks : {1u, 2u, 3u, 5u, 8u}) {
    for (uint64_t seed = 1; seed <= 7; ++seed) {
      run_varying(nranks, seed, registry().host());
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Varying, AnyLengthsGiveExactResultsOnDeviceMemory) {
  for (const uint32_t nranks : {2u, 3u}) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      run_varying(nranks, seed, *registry().find("sim"));
      if (HasFatalFailure()) return;
    }
  }
}

// Two ranks whose words on what rank 0 sends to rank 1 differ.
Status run_differing(Collective collective, uint64_t sent, uint64_t received, uint32_t late) {
  SimWorldOptions options;
  options.nranks = 2;
  options.devices = &registry();
  SimWorld world(options);
  const std::vector<Lengths> sender{{4, sent}, {5, 6}}, receiver{{4, received}, {5, 6}};
  const uint32_t root = collective == Collective::kGatherV ? 1 : 0;
  RankCall first(collective, sender, root, 0, registry().host());
  RankCall second(collective, receiver, root, 1, registry().host());
  return world.run({first.call(), second.call()}, {0, late});
}

TEST(Varying, LengthsOfAPairThatDifferAreAnErrorThatNamesBoth) {
  for (const Collective collective : {Collective::kAllToAllV, Collective::kGatherV, Collective::kScatterV}) {
    for (const auto& [sent, received] :
         {std::pair<uint64_t, uint64_t>{40, 36}, {0, 9}, {9, 0}, {70'000, 7}}) {
      for (const uint32_t late : {0u, 200u}) {
        const Status status = run_differing(collective, sent, received, late);
        EXPECT_EQ(status.code(), Code::kInvalidUsage) << name_of(collective);
        const std::string words = fmt::format("rank 0 sent {} int32, rank 1 receives {}", sent, received);
        EXPECT_NE(status.message().find(words), std::string_view::npos) << status.message();
        EXPECT_NE(status.message().find(name_of(collective)), std::string_view::npos) << status.message();
      }
    }
  }
}

TEST(Varying, AVectorThatDiffersIsAnotherCall) {
  SimWorldOptions options;
  options.nranks = 2;
  options.devices = &registry();
  for (const Collective collective : {Collective::kAllGatherV, Collective::kReduceScatterV}) {
    SimWorld world(options);
    const std::vector<Lengths> one = lengths_of(collective, {{8, 9}, {10, 11}});
    const std::vector<Lengths> other = lengths_of(collective, {{10, 7}, {8, 11}});  // the same in all
    RankCall first(collective, one, 0, 0, registry().host());
    RankCall second(collective, other, 0, 1, registry().host());
    const Status status = world.run({first.call(), second.call()});
    EXPECT_EQ(status.code(), Code::kInvalidUsage) << name_of(collective) << ": " << status.message();
  }
}

}  // namespace
}  // namespace comity::test
