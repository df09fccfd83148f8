#include "tests/conformance/transport_party.h"

#include <algorithm>
#include <cstring>

#include "src/base/clock.h"

namespace comity::conformance {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr std::byte kGuard{0xA5};

}  // namespace

std::byte pattern(uint64_t lane, uint64_t number, uint64_t i) {
  return static_cast<std::byte>((i * 131 + (i >> 8) * 17 + number * 29 + lane * 71 + 5) & 0xff);
}

std::vector<std::byte> payload_of(uint64_t lane, uint64_t number, uint64_t bytes) {
  std::vector<std::byte> payload(bytes);
  for (uint64_t i = 0; i < bytes; ++i) payload[i] = pattern(lane, number, i);
  return payload;
}

SegmentHeader header_of(uint32_t lane, uint64_t number, uint32_t bytes) {
  SegmentHeader header;
  header.lane = static_cast<uint16_t>(lane);
  header.number = number;
  header.length = bytes;
  header.communicator = static_cast<uint32_t>(kCommunicator);
  return header;
}

TransportContext context_of(uint32_t rank, uint32_t nranks) {
  TransportContext context;
  context.rank = rank;
  context.nranks = nranks;
  context.communicator = kCommunicator;
  for (size_t i = 0; i < context.secret.size(); ++i) context.secret[i] = static_cast<std::byte>(i + 1);
  return context;
}

std::string name_of_backend(const testing::TestParamInfo<Backend>& info) {
  return info.param.name;
}

// --- Recorder ----------------------------------------------------------------------------------------------

std::byte* Recorder::place(const SegmentHeader& header) {
  EXPECT_GT(header.length, 0u) << "place() is for segments with a payload";
  EXPECT_EQ(header.kind, SegmentKind::kData);
  std::vector<std::byte>& placed = placed_[{header.lane, header.number}];
  EXPECT_TRUE(placed.empty()) << "place() again before arrived()";
  if (arrivals.size() >= refuse_from) return nullptr;
  placed.assign(header.length + 2 * kGuardBytes, kGuard);
  return placed.data() + kGuardBytes;
}

Claim Recorder::claim(const SegmentHeader& header) {
  if (++claims_ % 3 == 0 && put_off_.emplace(header.lane, header.number).second) return {};
  return SegmentSink::claim(header);
}

bool Recorder::arrived(const SegmentHeader& header, const std::byte* payload) {
  if (arrivals.size() >= refuse_from) return false;
  EXPECT_EQ(header.length == 0 || (header.flags & kSegmentPut) != 0, payload == nullptr);
  const auto placed = placed_.find({header.lane, header.number});
  if (placed != placed_.end()) {
    const std::vector<std::byte>& memory = placed->second;
    EXPECT_EQ(payload, memory.data() + kGuardBytes) << "arrived() with other memory than place() gave";
    EXPECT_EQ(memory.size(), header.length + 2 * kGuardBytes) << "arrived() for another segment than place()";
    for (size_t i = 0; i < kGuardBytes; ++i) {
      EXPECT_TRUE(memory[i] == kGuard && memory[memory.size() - 1 - i] == kGuard)
          << "written beyond the payload's length";
    }
  }
  const size_t bytes = payload == nullptr ? 0 : header.length;
  arrivals.push_back({header, std::vector<std::byte>(payload, payload + bytes)});
  if (placed != placed_.end()) placed_.erase(placed);
  if (header.kind == SegmentKind::kData && header.lane < kLanes) by_lane[header.lane].fetch_add(1);
  return true;
}

// --- Channel -----------------------------------------------------------------------------------------------

void Channel::queue(uint32_t lane, uint32_t bytes) {
  SegmentHeader header;
  header.lane = static_cast<uint16_t>(lane);
  header.number = next_number_[lane]++;
  header.length = bytes;
  header.communicator = static_cast<uint32_t>(kCommunicator);
  queue(header, payload_of(lane, header.number, bytes));
}

void Channel::queue(const SegmentHeader& header, std::vector<std::byte> payload) {
  queued_.push_back({header, std::move(payload)});
}

bool Channel::window_open(const SegmentHeader& header) const {
  if (header.kind != SegmentKind::kData || remote_ == nullptr) return true;
  return sent_of_lane_[header.lane] < remote_->by_lane[header.lane].load() + kSegmentsInFlight;
}

bool Channel::offer(const SegmentHeader& header, const std::byte* payload) {
  if (!endpoint_->try_send(header, payload)) return false;
  ++accepted_;
  accepted_payloads_.push_back({header, {}});
  return true;
}

bool Channel::put(const SegmentHeader& header, SourceMemory payload, const RemoteMemory& to,
                  uint64_t offset) {
  if (!endpoint_->try_put(header, payload, to, offset)) return false;
  ++accepted_;
  accepted_payloads_.push_back({header, {}});
  return true;
}

bool Channel::poll() {
  bool moved = false;
  while (!queued_.empty() && window_open(queued_.front().header)) {
    Outgoing& next = queued_.front();
    const std::byte* payload = next.payload.empty() ? nullptr : next.payload.data();
    SegmentHeader header = next.header;
    if (!endpoint_->try_send(header, payload)) break;
    std::memset(static_cast<void*>(&header), 0xEE, sizeof(header));  // the header is copied on acceptance
    ++accepted_;
    if (next.header.kind == SegmentKind::kData) ++sent_of_lane_[next.header.lane];
    sent_.push_back(next.header);
    accepted_payloads_.push_back(std::move(next));
    queued_.pop_front();
    moved = true;
  }
  moved |= endpoint_->progress(*recorder_);
  overwrite_transmitted();
  return moved;
}

void Channel::overwrite_transmitted() {
  const uint64_t transmitted = endpoint_->transmitted();
  ASSERT_LE(transmitted, accepted_);
  ASSERT_GE(transmitted, overwritten_) << "transmitted() went back";
  for (; overwritten_ < transmitted; ++overwritten_) {
    auto& payload = accepted_payloads_.front().payload;
    std::fill(payload.begin(), payload.end(), std::byte{0xDD});
    accepted_payloads_.pop_front();
  }
}

// --- Parties -----------------------------------------------------------------------------------------------

Parties::Parties(const Backend& backend, uint32_t nranks) : world_(backend.make(nranks)), channels_(nranks) {
  EXPECT_EQ(world_.transports.size(), nranks);
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    channels_[rank].resize(nranks);
    EXPECT_LE(transport(rank).address().size(), 4096u);
    for (uint32_t peer = 0; peer < nranks; ++peer) {
      if (peer == rank) continue;
      const Status reached = transport(rank).reach(peer, transport(peer).address());
      EXPECT_TRUE(reached.ok()) << reached.message();
    }
  }
}

void Parties::open(uint32_t a, uint32_t b) {
  for (const auto& [self, peer] : {std::pair(a, b), std::pair(b, a)}) {
    auto endpoints = transport(self).endpoints(peer);
    ASSERT_TRUE(endpoints.ok()) << endpoints.status().message();
    ASSERT_FALSE((*endpoints).empty());
    for (Endpoint* endpoint : *endpoints) channels_[self][peer].emplace_back(*endpoint);
  }
  ASSERT_EQ(channels_[a][b].size(), channels_[b][a].size());
  for (size_t i = 0; i < channels_[a][b].size(); ++i) {
    channels_[a][b][i].join(channels_[b][a][i]);
    channels_[b][a][i].join(channels_[a][b][i]);
  }
}

void Parties::open_all() {
  for (uint32_t a = 0; a < size(); ++a) {
    for (uint32_t b = a + 1; b < size(); ++b) open(a, b);
  }
}

Channel& Parties::channel(uint32_t self, uint32_t peer, size_t index) {
  return channels_[self][peer].at(index);
}

bool Parties::poll(uint32_t rank) {
  const Status status = transport(rank).progress();
  EXPECT_TRUE(status.ok()) << status.message();
  bool moved = false;
  for (auto& list : channels_[rank]) {
    for (Channel& channel : list) moved |= channel.poll();
  }
  return moved;
}

bool Parties::run_until(const std::function<bool()>& finished) {
  constexpr int kQuietRounds = 4;  // claims that were answered "not yet"
  const Deadline deadline = Deadline::after_ms(30'000);
  for (int quiet = 0; !finished();) {
    bool moved = false;
    for (uint32_t rank = 0; rank < size(); ++rank) moved |= poll(rank);
    quiet = moved || world_.idle() ? 0 : quiet + 1;
    if (quiet == kQuietRounds) return finished();
    if (deadline.passed()) return false;
  }
  return true;
}

bool Parties::run_until_delivered() {
  return run_until([this] {
    for (uint32_t self = 0; self < size(); ++self) {
      for (uint32_t peer = 0; peer < size(); ++peer) {
        for (size_t i = 0; i < channels_[self][peer].size(); ++i) {
          Channel& from = channels_[self][peer][i];
          if (!from.endpoint().status().ok()) return true;
          if (!from.sent_all() || from.endpoint().transmitted() < from.accepted()) return false;
          if (channels_[peer][self][i].recorder().arrivals.size() < from.sent().size()) return false;
        }
      }
    }
    return true;
  });
}

void Parties::expect_delivered() {
  for (uint32_t self = 0; self < size(); ++self) {
    for (uint32_t peer = 0; peer < size(); ++peer) {
      for (size_t i = 0; i < channels_[self][peer].size(); ++i) {
        Channel& from = channels_[self][peer][i];
        auto arrivals = channels_[peer][self][i].recorder().arrivals;
        std::vector<SegmentHeader> sent_headers = from.sent();
        if (!from.endpoint().traits().in_order) {
          const auto before = [](const SegmentHeader& a, const SegmentHeader& b) {
            return std::memcmp(&a, &b, sizeof(a)) < 0;
          };
          std::sort(sent_headers.begin(), sent_headers.end(), before);
          std::sort(arrivals.begin(), arrivals.end(),
                    [&](const auto& a, const auto& b) { return before(a.header, b.header); });
        }
        EXPECT_TRUE(from.endpoint().status().ok()) << from.endpoint().status().message();
        ASSERT_EQ(arrivals.size(), sent_headers.size()) << self << " -> " << peer << " endpoint " << i;
        for (size_t n = 0; n < arrivals.size(); ++n) {
          const SegmentHeader& sent = sent_headers[n];
          ASSERT_EQ(std::memcmp(&arrivals[n].header, &sent, sizeof(sent)), 0) << "header of arrival " << n;
          ASSERT_EQ(arrivals[n].payload, payload_of(sent.lane, sent.number, sent.length)) << "arrival " << n;
        }
      }
    }
  }
}

}  // namespace comity::conformance
