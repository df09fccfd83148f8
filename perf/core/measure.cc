#include "perf/core/measure.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "perf/core/comm_board.h"
#include "perf/core/element.h"
#include "perf/core/pattern.h"
#include "perf/job/affinity.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr int kPoison = 0xee;  // in receive buffers before a checked call
constexpr int kBarrierChecks = 100;

struct ExpectedRun {
  Piece piece;
  Pattern pattern;
};

std::vector<ExpectedRun> expected_runs(const PatternKey& key, const std::vector<Piece>& pieces) {
  std::vector<ExpectedRun> runs;
  for (const Piece& piece : pieces) {
    runs.push_back(
        {piece, piece.from == Piece::kReduced ? Pattern::reduced(key) : Pattern::input(key, piece.from)});
  }
  return runs;
}

template <typename CountOf>
std::vector<size_t> pair_counts(int nranks, CountOf count_of) {
  std::vector<size_t> counts;
  for (int peer = 0; peer < nranks; ++peer) counts.push_back(count_of(peer));
  return counts;
}

}  // namespace

// A row made ready: patterns are computed once, buffers are laid out per placement.
struct Measurer::Row {
  RowKey key;
  Shape shape;
  uint64_t bytes;
  size_t element_bytes;
  bool has_input;
  Pattern input;
  std::vector<ExpectedRun> expected;
  std::vector<size_t> send_counts, recv_counts;

  // `host`: of what the call sends, and of what it received.
  void write_input(std::byte* host, size_t shift) const { input.fill(host, 0, shape.send_count, shift); }
  uint64_t count_wrong(const std::byte* host, size_t shift) const {
    uint64_t wrong = 0;
    for (const ExpectedRun& run : expected) {
      const std::byte* at = host + run.piece.recv_offset * element_bytes;
      wrong += run.pattern.count_wrong(at, run.piece.first, run.piece.count, shift);
    }
    return wrong;
  }
};

const Buffer& Measurer::buffer_of(const void* at) const {
  return recv_.holds(at) ? recv_ : send_;
}

Status Measurer::write_input(const Row& row, const Call& call, size_t shift) const {
  if (!row.has_input) return {};
  const Buffer& buffer = buffer_of(call.send);
  row.write_input(buffer.host(call.send), shift);
  return buffer.push(call.send, row.shape.send_count * row.element_bytes);
}

Result<uint64_t> Measurer::count_wrong(const Row& row, const Call& call, size_t shift) const {
  const Buffer& buffer = buffer_of(call.recv);
  COMITY_RETURN_IF_ERROR(buffer.pull(call.recv, row.shape.recv_count * row.element_bytes));
  return row.count_wrong(buffer.host(call.recv), shift);
}

Status Measurer::prepare_limit() {
  SharedBoard* board = session_.shared_board();
  if (board == nullptr) {
    return Status(Code::kInvalidArgument, "--limit is for ranks on one machine: use --ranks or --board");
  }
  alpha_.cores = machine_core_count();
  if (session_.nranks() <= alpha_.cores) {
    COMITY_ASSIGN_OR_RETURN(alpha_.line_ns, line_latency_ns(*board, session_.rank(), session_.nranks()));
  } else {
    COMITY_ASSIGN_OR_RETURN(alpha_.yield_switch_ns,
                            yield_switch_ns(*board, session_.rank(), session_.nranks()));
  }
  return {};
}

Result<RowResult> Measurer::run(const RowKey& key) {
  const size_t element_bytes = size_of(key.type);
  const int rank = session_.rank(), nranks = session_.nranks();
  const Shape shape = spec_.shape(key.bytes / element_bytes, nranks);
  const PatternKey pattern{key.type, key.op, nranks};
  const uint64_t bytes = std::max(shape.send_count, shape.recv_count) * element_bytes;
  const Row row{
      key,
      shape,
      bytes,
      element_bytes,
      has_input(spec_.kind, rank, key.root),
      Pattern::input(pattern, rank),
      expected_runs(pattern, expected_pieces(spec_.kind, shape, rank, nranks, key.root)),
      pair_counts(nranks, [&](int peer) { return pair_count(shape.argument, rank, peer, nranks); }),
      pair_counts(nranks, [&](int peer) { return pair_count(shape.argument, peer, rank, nranks); })};
  RowResult result{key, shape, bytes, {}, std::nullopt};
  COMITY_ASSIGN_OR_RETURN(result.out_of_place, run_placement(row, false));
  if (spec_.has_in_place) {
    COMITY_ASSIGN_OR_RETURN(result.in_place, run_placement(row, true));
  }
  return result;
}

Result<PlacementResult> Measurer::run_placement(const Row& row, bool in_place) {
  Call call{send_.data(), recv_.data(), row.shape.argument, static_cast<comityDataType_t>(row.key.type),
            comitySum,    row.key.root, session_.comm()};
  call.rank = session_.rank();
  call.nranks = session_.nranks();
  call.send_counts = row.send_counts.data();
  call.recv_counts = row.recv_counts.data();
  if (row.key.op) call.op = static_cast<comityRedOp_t>(*row.key.op);
  if (in_place) {
    const InPlace at = in_place_offsets(spec_.kind, row.shape, session_.rank());
    call.send = recv_.data() + at.send_offset * row.element_bytes;
    call.recv = recv_.data() + at.recv_offset * row.element_bytes;
  }
  PlacementResult result;
  result.iterations = options_.iterations_for(row.bytes);
  double best_us = 0;
  if (options_.limit) {
    COMITY_ASSIGN_OR_RETURN(best_us, limit_us(row, in_place));
  }
  COMITY_RETURN_IF_ERROR(write_input(row, call, 0));
  COMITY_RETURN_IF_ERROR(warm_up(row, call));
  COMITY_RETURN_IF_ERROR(options_.owner_writes ? time_one_by_one(row, call, result)
                                               : time_back_to_back(row, call, result));
  if (options_.checks > 0) {
    COMITY_ASSIGN_OR_RETURN(const uint64_t wrong, check(row, call));
    result.wrong = result.wrong.value_or(0) + wrong;
  }
  const double seconds = result.time_us * 1e-6;
  result.algbw_gb_per_s = seconds > 0 ? static_cast<double>(row.bytes) / 1e9 / seconds : 0;
  result.busbw_gb_per_s = result.algbw_gb_per_s * spec_.bus_factor(session_.nranks());
  if (options_.limit && result.time_us > 0) result.limit_percent = 100 * best_us / result.time_us;
  return result;
}

Status Measurer::make_call(const Call& call) {
  return status_of(spec_.call(call), call.comm, "the timed call");
}

Status Measurer::warm_up(const Row& row, const Call& call) {
  for (int i = 0; i < options_.warmup; ++i) {
    if (options_.owner_writes) COMITY_RETURN_IF_ERROR(write_input(row, call, static_cast<size_t>(i)));
    COMITY_RETURN_IF_ERROR(session_.board().start_together());
    COMITY_RETURN_IF_ERROR(make_call(call));
  }
  return {};
}

// The calls of one iteration.
comityResult_t Measurer::iterate(const Call& call) {
  if (options_.agg_iters == 1) return spec_.call(call);
  comityGroupStart();
  for (int i = 0; i < options_.agg_iters; ++i) spec_.call(call);
  return comityGroupEnd();  // tells what was refused inside, too
}

// One time for what each rank took.
Result<double> Measurer::over_ranks(double time_us) {
  constexpr double kUnitsPerUs = 1e6;
  if (options_.average == Average::kMean) {
    const auto units = static_cast<uint64_t>(time_us * kUnitsPerUs);
    COMITY_ASSIGN_OR_RETURN(const uint64_t sum, session_.board().sum_over_ranks(units));
    return static_cast<double>(sum) / kUnitsPerUs / session_.nranks();
  }
  const double sign = options_.average == Average::kMin ? -1 : 1;
  double largest = options_.average == Average::kRank0 && session_.rank() != 0 ? 0 : sign * time_us;
  COMITY_RETURN_IF_ERROR(session_.board().max_over_ranks({&largest, 1}));
  return sign * largest;
}

Status Measurer::time_back_to_back(const Row& row, const Call& call, PlacementResult& result) {
  std::vector<double> times_us(options_.iteration_times ? static_cast<size_t>(result.iterations) : 0);
  COMITY_RETURN_IF_ERROR(write_input(row, call, 0));
  COMITY_RETURN_IF_ERROR(session_.board().start_together());
  const uint64_t begin = now_ns();
  uint64_t last = begin;
  for (int i = 0; i < result.iterations; ++i) {
    if (const comityResult_t returned = iterate(call); returned != comitySuccess) {
      return status_of(returned, call.comm, "the timed call");
    }
    if (times_us.empty()) continue;
    const uint64_t now = now_ns();
    times_us[static_cast<size_t>(i)] = static_cast<double>(now - std::exchange(last, now)) / 1e3;
  }
  const double took_ns = static_cast<double>(now_ns() - begin) / result.iterations / options_.agg_iters;
  COMITY_ASSIGN_OR_RETURN(const double took_us, over_ranks(took_ns / 1e3));
  result.time_us = result.min_us = result.max_us = took_us;
  if (times_us.empty()) return {};
  for (double& time : times_us) time /= options_.agg_iters;
  COMITY_RETURN_IF_ERROR(session_.board().max_over_ranks(times_us));
  const auto [min, max] = std::minmax_element(times_us.begin(), times_us.end());
  result.min_us = *min;
  result.max_us = *max;
  result.iterations_us = std::move(times_us);
  return {};
}

Status Measurer::time_one_by_one(const Row& row, const Call& call, PlacementResult& result) {
  std::vector<double> times_us(static_cast<size_t>(result.iterations));
  std::array<double, 2> line_ns{};
  if (watches_line()) {
    COMITY_ASSIGN_OR_RETURN(line_ns[0], line_now_ns());
  }
  for (size_t i = 0; i < times_us.size(); ++i) {
    COMITY_RETURN_IF_ERROR(write_input(row, call, i));
    COMITY_RETURN_IF_ERROR(session_.board().start_together());
    const uint64_t begin = now_ns();
    const comityResult_t returned = spec_.call(call);
    times_us[i] = static_cast<double>(now_ns() - begin) / 1e3;
    if (returned != comitySuccess) return status_of(returned, call.comm, "the timed call");
  }
  if (options_.checks > 0) {  // the last timed result is as good as any to look at
    COMITY_ASSIGN_OR_RETURN(const uint64_t wrong, count_wrong(row, call, times_us.size() - 1));
    COMITY_ASSIGN_OR_RETURN(result.wrong, session_.board().sum_over_ranks(wrong));
  }
  if (watches_line()) {
    COMITY_ASSIGN_OR_RETURN(line_ns[1], line_now_ns());
    result.line_ns = line_ns;
  }
  COMITY_RETURN_IF_ERROR(session_.board().max_over_ranks(times_us));
  if (options_.iteration_times) result.iterations_us = times_us;
  std::sort(times_us.begin(), times_us.end());
  result.time_us = times_us[times_us.size() / 2];
  result.min_us = times_us.front();
  result.max_us = times_us.back();
  return {};
}

// Only where the ranks in question have a core each: otherwise it would say how the system schedules.
bool Measurer::watches_line() const {
  return session_.shared_board() != nullptr && session_.nranks() > 1 &&
         session_.nranks() <= machine_core_count();
}

Result<double> Measurer::line_now_ns() {
  constexpr int kBatches = 4;  // a millisecond
  return line_latency_ns(*session_.shared_board(), session_.rank(), session_.nranks(), kBatches);
}

Result<uint64_t> Measurer::check(const Row& row, const Call& call) {
  if (spec_.kind == Collective::kBarrier) return check_barrier(call);
  uint64_t wrong = 0;
  for (int i = 0; i < options_.checks; ++i) {
    COMITY_ASSIGN_OR_RETURN(const uint64_t more, checked_call(row, call, static_cast<size_t>(i) + 100));
    wrong += more;
  }
  return session_.board().sum_over_ranks(wrong);
}

Result<uint64_t> Measurer::checked_call(const Row& row, const Call& call, size_t shift) {
  const bool in_place = call.send != send_.data();
  const size_t recv_bytes = row.shape.recv_count * row.element_bytes;
  COMITY_RETURN_IF_ERROR(send_.set_guards(row.shape.send_count * row.element_bytes));
  COMITY_RETURN_IF_ERROR(recv_.set_guards(in_place ? row.bytes : recv_bytes));
  if (!in_place) {
    std::memset(recv_.host(recv_.data()), kPoison, recv_bytes);
    COMITY_RETURN_IF_ERROR(recv_.push(recv_.data(), recv_bytes));
  }
  COMITY_RETURN_IF_ERROR(write_input(row, call, shift));
  COMITY_RETURN_IF_ERROR(session_.board().start_together());
  COMITY_RETURN_IF_ERROR(make_call(call));
  COMITY_ASSIGN_OR_RETURN(uint64_t wrong, count_wrong(row, call, shift));
  for (const Buffer* buffer : {&send_, &recv_}) {
    COMITY_ASSIGN_OR_RETURN(const uint64_t broken, buffer->broken_guards());
    wrong += broken;
  }
  if (!in_place && row.has_input) {  // an input is the caller's and must be as it was
    COMITY_RETURN_IF_ERROR(send_.pull(send_.data(), row.shape.send_count * row.element_bytes));
    wrong += row.input.count_wrong(send_.host(send_.data()), 0, row.shape.send_count, shift);
  }
  return wrong;
}

// A barrier is wrong as often as a rank left before another had come.
Result<uint64_t> Measurer::check_barrier(const Call& call) {
  if (!session_.board().one_clock()) return 0;
  uint64_t early = 0;
  for (int i = 0; i < kBarrierChecks; ++i) {
    auto last_came = static_cast<double>(now_ns());
    COMITY_RETURN_IF_ERROR(make_call(call));
    const auto left = static_cast<double>(now_ns());
    COMITY_RETURN_IF_ERROR(session_.board().max_over_ranks({&last_came, 1}));
    early += left < last_came ? 1 : 0;
  }
  return session_.board().sum_over_ranks(early);
}

Result<double> Measurer::limit_us(const Row& row, bool in_place) {
  const double latency_ns = alpha_ns(alpha_, session_.nranks());
  const size_t footprint = in_place ? row.bytes / 2 / 64 * 64 : row.bytes / 64 * 64;
  double memory_ns = 0;
  if (footprint >= 2048) {
    std::byte* other = in_place ? recv_.data() + footprint : send_.data();
    COMITY_ASSIGN_OR_RETURN(const double bytes_per_s, memory_bandwidth(session_.board(), session_.nranks(),
                                                                       {recv_.data(), other, footprint}));
    const double traffic =
        least_traffic_bytes(planned_as(spec_.kind), static_cast<double>(row.bytes), session_.nranks());
    memory_ns = traffic / bytes_per_s * 1e9;
  }
  return std::max(latency_ns, memory_ns) / 1e3;
}

}  // namespace comity::perf
