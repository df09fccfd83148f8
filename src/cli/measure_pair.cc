#include "src/cli/measure_pair.h"

#include <algorithm>
#include <vector>

#include "src/base/clock.h"

namespace comity::cli {
namespace {

constexpr size_t kTrialBytes = size_t{1} << 20, kMostBytes = size_t{32} << 20;
constexpr uint64_t kLongestNs = 50'000'000;
constexpr int kBatches = 9, kSmallCalls = 200;

uint64_t median(std::vector<uint64_t> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return std::max<uint64_t>(values[values.size() / 2], 1);
}

class Pair {
 public:
  explicit Pair(int rank) : rank_(rank), buffer_(kMostBytes, static_cast<char>(rank)) {}
  ~Pair() {
    if (comm_ != nullptr) (void)comityCommDestroy(comm_);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  Result<PairFigures> run(const comityUniqueId& id) {
    COMITY_RETURN_IF_ERROR(said(comityCommInitRank(&comm_, 2, id, rank_)));
    PairFigures figures;
    COMITY_ASSIGN_OR_RETURN(figures.latency_ns, latency_ns());
    COMITY_ASSIGN_OR_RETURN(const uint64_t trial_ns, transfer_ns(kTrialBytes, 2));
    // Both must send the same length: the slower's trial decides.
    uint64_t slower_ns = 0;
    COMITY_RETURN_IF_ERROR(
        said(comityAllReduce(&trial_ns, &slower_ns, 1, comityUint64, comityMax, comm_, nullptr)));
    const uint64_t bytes =
        std::clamp<uint64_t>(kTrialBytes * kLongestNs / slower_ns, kTrialBytes, kMostBytes);
    COMITY_ASSIGN_OR_RETURN(const uint64_t took_ns, transfer_ns(bytes, kBatches));
    figures.bandwidth_bytes_per_s = std::max<uint64_t>(bytes * 1'000'000'000u / took_ns, 1);
    return figures;
  }

 private:
  Status said(comityResult_t result) const {
    return result == comitySuccess ? Status() : Status(Code::kSystemError, comityGetLastError(comm_));
  }

  Result<uint64_t> latency_ns() {
    std::vector<uint64_t> times;
    float in[2] = {1, 2}, out[2];
    for (int batch = 0; batch <= kBatches; ++batch) {
      const uint64_t began = now_ns();
      for (int call = 0; call < kSmallCalls; ++call)
        COMITY_RETURN_IF_ERROR(said(comityAllReduce(in, out, 2, comityFloat32, comitySum, comm_, nullptr)));
      if (batch > 0) times.push_back((now_ns() - began) / kSmallCalls);
    }
    return median(std::move(times));
  }

  // The first call of each length only prepares.
  Result<uint64_t> transfer_ns(size_t bytes, int batches) {
    std::vector<uint64_t> times;
    for (int batch = 0; batch <= batches; ++batch) {
      COMITY_RETURN_IF_ERROR(said(comityBarrier(comm_, nullptr)));
      const uint64_t began = now_ns();
      COMITY_RETURN_IF_ERROR(
          said(comityBroadcast(buffer_.data(), buffer_.data(), bytes, comityUint8, 0, comm_, nullptr)));
      if (batch > 0) times.push_back(now_ns() - began);
    }
    return median(std::move(times));
  }

  int rank_;
  comityComm_t comm_ = nullptr;
  std::vector<char> buffer_;
};

}  // namespace

Result<PairFigures> measure_pair(int rank, const comityUniqueId& id) {
  return Pair(rank).run(id);
}

}  // namespace comity::cli
