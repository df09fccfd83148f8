#include "src/api/calibrate.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "src/base/berth.h"
#include "src/base/bytes.h"
#include "src/base/log.h"

namespace comity::api {
namespace {

constexpr uint32_t kMostPairs = 4;
constexpr uint64_t kOrderBytes = 64;
constexpr uint32_t kOver = 0;
constexpr uint32_t kAnswer = 1;  // any other order: so many bytes follow
constexpr uint64_t kSignature = 0x63616c6962726174;
constexpr uint32_t kRounds = 15;
constexpr uint64_t kRoundsWithinNs = 20'000'000;
constexpr uint64_t kFirstBytes = 16 * 1024;
constexpr uint64_t kLastBytes = 1024 * 1024;  // two staging slots of a link, which stay
constexpr int kTriesEach = 3;
constexpr uint64_t kAllWithinNs = 80'000'000;
constexpr uint64_t kYieldAfterPolls = 16;  // the other end may need this very core
constexpr uint64_t kSleepAfterNs = 2'000'000;
constexpr uint64_t kSleepNs = 1'000'000;
// The deadline of init comes to all ranks at once: whoever knows best who is missing speaks first.
constexpr int kBeforeDeadlineMs = 500;

// One end of a path.
class PathEnd final : public engine::CompletionSink {
 public:
  explicit PathEnd(const PathEnds& ends) : ends_(ends), bytes_(kLastBytes) {
    const int left_ms = ends.deadline.left_ms(24 * 3600 * 1000);
    limit_ = Deadline::after_ms(static_cast<uint64_t>(left_ms - std::min(kBeforeDeadlineMs, left_ms / 4)));
  }

  void completed(uint32_t) override { --open_; }

  Status send_order(uint32_t order) {
    std::memcpy(order_.data(), &order, sizeof(order));
    return send(order_.data(), kOrderBytes);
  }
  Status send_bytes(uint64_t count) { return send(bytes_.data(), count); }
  Status receive_bytes(uint64_t count) { return receive(bytes_.data(), count); }
  Result<uint32_t> receive_order() {
    COMITY_RETURN_IF_ERROR(receive(order_.data(), kOrderBytes));
    uint32_t order = 0;
    std::memcpy(&order, order_.data(), sizeof(order));
    return order;
  }
  // Until the other end has, or can take, all that it needs from here.
  Status flush() {
    return wait([this] { return ends_.link.quiescent(); });
  }

 private:
  Status send(const std::byte* from, uint64_t count) {
    ++open_;
    ends_.link.post_send(0, from, count, kSignature, *this, 0);
    return wait([this] { return open_ == 0; });
  }
  Status receive(std::byte* to, uint64_t count) {
    ++open_;
    engine::ReceiveAction action;
    action.destination = to;
    ends_.link.post_recv(0, count, kSignature, action, *this, 0);
    return wait([this] { return open_ == 0; });
  }

  template <typename Ready>
  Status wait(Ready ready) {
    uint64_t idle_since_ns = 0;
    for (uint64_t polls = 0; !ready(); ++polls) {
      if (ends_.link.progress()) {
        polls = idle_since_ns = 0;
        continue;
      }
      COMITY_RETURN_IF_ERROR(ends_.transport.progress());
      COMITY_RETURN_IF_ERROR(ends_.link.status());
      if (polls < kYieldAfterPolls) continue;
      COMITY_RETURN_IF_ERROR(look_around());
      const uint64_t now = now_ns();
      if (idle_since_ns == 0) idle_since_ns = now;
      if (now - idle_since_ns < kSleepAfterNs) {
        sched_yield();
      } else {
        doze();
      }
    }
    return {};
  }

  void doze() {
    if (berth_ == nullptr) berth_ = borrow_berth();
    berth_->open(true);
    ends_.transport.arm(*berth_);
    berth_->sleep(kSleepNs);
    ends_.transport.disarm(*berth_);
    berth_->close();
  }

  Status look_around() {
    COMITY_RETURN_IF_ERROR(ends_.fault());
    if (!limit_.passed()) return {};
    return Status(
        Code::kTimeout,
        fmt::format("rank {} waited for rank {}, to measure the path between them, until the deadline "
                    "of initialisation: is that process stopped, or is its traffic dropped?",
                    ends_.rank, ends_.link.peer()));
  }

  const PathEnds& ends_;
  Deadline limit_ = Deadline::never();
  uint32_t open_ = 0;
  std::array<std::byte, kOrderBytes> order_{};
  std::vector<std::byte> bytes_;
  BerthLoan berth_;
};

// Nanoseconds of one order and its answer, with `bytes` bytes between them.
Result<uint64_t> round_ns(PathEnd& end, uint64_t bytes) {
  const uint64_t began = now_ns();
  COMITY_RETURN_IF_ERROR(end.send_order(bytes == 0 ? kAnswer : static_cast<uint32_t>(bytes)));
  if (bytes > 0) COMITY_RETURN_IF_ERROR(end.send_bytes(bytes));
  COMITY_ASSIGN_OR_RETURN(const uint32_t answer, end.receive_order());
  if (answer != kAnswer)
    return Status(Code::kRemoteError, "calibration got another answer than it asked for");
  return now_ns() - began;
}

Result<PathFigures> lead(PathEnd& end) {
  COMITY_RETURN_IF_ERROR(round_ns(end, 0).status());  // the connection stands, the other end is awake
  const uint64_t began = now_ns();
  uint64_t round = UINT64_MAX;  // the best: others waited for a processor
  for (uint32_t i = 0; i == 0 || (i < kRounds && now_ns() - began < kRoundsWithinNs); ++i) {
    COMITY_ASSIGN_OR_RETURN(const uint64_t took, round_ns(end, 0));
    round = std::min(round, took);
  }
  PathFigures figures;
  figures.latency_ns = std::max<uint64_t>(1, round / 2);
  // What a size took foretells the next one, which is four times as long.
  for (uint64_t bytes = kFirstBytes, last = 0; bytes <= kLastBytes; bytes *= 4) {
    if (last > 0 && now_ns() - began + 4 * last > kAllWithinNs) break;
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < kTriesEach && (i == 0 || now_ns() - began + best < kAllWithinNs); ++i) {
      COMITY_ASSIGN_OR_RETURN(const uint64_t took, round_ns(end, bytes));
      best = std::min(best, took);
    }
    last = best;
    const uint64_t transfer_ns = std::max<uint64_t>(best - std::min(best, round), best / 2 + 1);
    figures.bandwidth_bytes_per_s = std::max<uint64_t>(100'000, bytes * 1'000'000'000u / transfer_ns);
  }
  COMITY_RETURN_IF_ERROR(end.send_order(kOver));
  return figures;
}

Result<PathFigures> follow(PathEnd& end) {
  while (true) {
    COMITY_ASSIGN_OR_RETURN(const uint32_t order, end.receive_order());
    if (order == kOver) return PathFigures{};
    if (order > kLastBytes)
      return Status(Code::kRemoteError, "calibration was given an order that cannot be");
    if (order != kAnswer) COMITY_RETURN_IF_ERROR(end.receive_bytes(order));
    COMITY_RETURN_IF_ERROR(end.send_order(kAnswer));
  }
}

// This rank's part: figures if it leads a pair, else zeros.
Result<PathFigures> measure_mine(const Calibration& calibration,
                                 const std::vector<std::pair<uint32_t, uint32_t>>& pairs) {
  engine::Communicator& engine = calibration.engine;
  const uint32_t rank = engine.rank();
  for (const auto& [leader, follower] : pairs) {
    if (rank != leader && rank != follower) continue;
    const uint32_t peer = rank == leader ? follower : leader;
    COMITY_ASSIGN_OR_RETURN(engine::Link * link, engine.link_to(peer, 1));
    const control::Session& session = calibration.session;
    const auto fault = [&session, cancelled = calibration.cancelled] {
      if (cancelled != nullptr && cancelled->load(std::memory_order_acquire))
        return Status(Code::kRemoteError, "this rank aborted while it measured its paths");
      const control::Verdict* verdict = session.verdict();
      return verdict == nullptr ? Status() : Status(verdict->code, verdict->message);
    };
    Transport& transport =
        engine.transport(static_cast<uint32_t>(std::countr_zero(engine.transport_bit(peer))));
    return measure_path(PathEnds{*link, transport, rank, rank == leader, calibration.deadline, fault});
  }
  return PathFigures{};
}

}  // namespace

std::vector<std::pair<uint32_t, uint32_t>> sampled_pairs(const topology::Topology& topology,
                                                         bool one_machine) {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  const bool across = topology.ngroups() > 1;
  if (!across && (topology.nranks() < 2 || topology.inside.direct)) return pairs;
  if (!across) {
    pairs.emplace_back(0, topology.nranks() / 2);
    return pairs;
  }
  std::vector<uint32_t> first_of_group(topology.ngroups(), UINT32_MAX);
  for (uint32_t rank = topology.nranks(); rank-- > 0;) first_of_group[topology.group_of_rank[rank]] = rank;
  const auto groups = static_cast<uint32_t>(first_of_group.size());
  const uint32_t half = groups / 2;
  const uint32_t count = std::min(half, one_machine ? 1 : kMostPairs);
  for (uint32_t i = 0; i < count; ++i) {
    const auto at = static_cast<uint32_t>(uint64_t{i} * half / count);
    pairs.emplace_back(first_of_group[at], first_of_group[at + (groups - half)]);
  }
  return pairs;
}

Result<PathFigures> measure_path(const PathEnds& ends) {
  PathEnd end(ends);
  auto figures = ends.leads ? lead(end) : follow(end);
  if (figures.ok()) COMITY_RETURN_IF_ERROR(end.flush());
  return figures;
}

Result<std::optional<Measured>> calibrate(const Calibration& calibration) {
  const auto pairs = sampled_pairs(calibration.topology, calibration.one_machine);
  if (pairs.empty()) return std::optional<Measured>();
  const uint64_t began = now_ns();
  const Result<PathFigures> measured_here = measure_mine(calibration, pairs);
  calibration.engine.end_memory();
  COMITY_ASSIGN_OR_RETURN(const PathFigures mine, measured_here);
  ByteWriter writer;
  writer.put(mine.latency_ns).put(mine.bandwidth_bytes_per_s);
  COMITY_ASSIGN_OR_RETURN(const auto all,
                          calibration.session.all_gather(writer.take(), calibration.deadline));
  Measured measured;
  measured.way = calibration.topology.ngroups() > 1 ? topology::Way::kNetwork : topology::Way::kLoopback;
  for (const auto& pair : pairs) {
    ByteReader reader(all[pair.first]);
    const auto latency_ns = reader.get<uint64_t>();
    const auto bandwidth = reader.get<uint64_t>();
    if (!reader.ok() || latency_ns == 0 || bandwidth == 0) {
      return Status(Code::kRemoteError, fmt::format("rank {} measured nothing", pair.first));
    }
    const bool first = measured.latency_ns == 0;
    measured.latency_ns = std::max(measured.latency_ns, latency_ns);
    measured.bandwidth_bytes_per_s = first ? bandwidth : std::min(measured.bandwidth_bytes_per_s, bandwidth);
  }
  COMITY_LOG_INFO("{}: calibrated by {} pairs in {} us: {} ns one way, {} bytes/s", calibration.name,
                  pairs.size(), (now_ns() - began) / 1000, measured.latency_ns,
                  measured.bandwidth_bytes_per_s);
  return std::optional(measured);
}

}  // namespace comity::api
