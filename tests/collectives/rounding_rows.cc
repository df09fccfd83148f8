#include "tests/collectives/rounding_rows.h"

#include <fmt/core.h>

#include <vector>

#include "tests/support/reduce_reference.h"
#include "tests/support/rounding.h"

namespace comity::test {
namespace {

constexpr uint64_t kShort = 5;
constexpr uint64_t kLong = 2003;
constexpr uint64_t kLongest = 40'009;

class Rows {
 public:
  Rows(comityComm_t comm, uint32_t rank, uint32_t nranks) : comm_(comm), rank_(rank), nranks_(nranks) {}

  std::string call(const RoundingCase& numbers, Collective collective, uint64_t count, uint32_t roundings) {
    const size_t size = size_of(numbers.type());
    const bool scatters = collective == Collective::kReduceScatter;
    const auto type = static_cast<comityDataType_t>(numbers.type());
    const auto op = static_cast<comityRedOp_t>(numbers.op());
    const int root = static_cast<int>(nranks_ / 2);
    const std::byte* in = numbers.input(rank_).data();
    out_.assign(count * size, std::byte{0});
    const comityResult_t result = collective == Collective::kAllReduce
                                      ? comityAllReduce(in, out_.data(), count, type, op, comm_, nullptr)
                                  : scatters
                                      ? comityReduceScatter(in, out_.data(), count, type, op, comm_, nullptr)
                                      : comityReduce(in, out_.data(), count, type, op, root, comm_, nullptr);
    const std::string what = fmt::format("rank {}, {} of {}: ", rank_, name_of(collective), count);
    if (result != comitySuccess) return what + comityGetLastError(comm_);
    if (collective == Collective::kReduce && static_cast<int>(rank_) != root) return "";
    const std::string wrong = numbers.wrong(out_.data(), scatters ? rank_ * count : 0, count, roundings);
    return wrong.empty() ? "" : what + wrong;
  }

  // The average of `bits` on all ranks is that number.
  std::string average(DataType type, uint64_t bits) {
    std::byte in[2] = {}, out[2] = {};
    set_element(in, type, 0, bits);
    const comityResult_t result =
        comityAllReduce(in, out, 1, static_cast<comityDataType_t>(type), comityAvg, comm_, nullptr);
    if (result != comitySuccess) return comityGetLastError(comm_);
    const uint64_t got = element(out, type, 0);
    return got == bits ? "" : fmt::format("the average of 0x{:x} of {} is 0x{:x}", bits, name_of(type), got);
  }

 private:
  comityComm_t comm_;
  uint32_t rank_, nranks_;
  std::vector<std::byte> out_;
};

}  // namespace

std::vector<RoundingCase> rounding_cases(uint32_t nranks) {
  std::vector<RoundingCase> cases;
  for (const DataType type : kNarrowFloats) {
    for (const RedOp op : {RedOp::kSum, RedOp::kAvg, RedOp::kProd})
      cases.emplace_back(type, op, nranks, kLong * nranks);
  }
  cases.emplace_back(DataType::kBfloat16, RedOp::kAvg, nranks, kLongest);
  return cases;
}

std::string run_rounding_rows(comityComm_t comm, uint32_t rank, const std::vector<RoundingCase>& cases,
                              uint32_t roundings) {
  Rows rows(comm, rank, cases[0].ranks());
  for (const RoundingCase& numbers : cases) {
    const bool longest = numbers.length() == kLongest;
    for (const Collective collective :
         {Collective::kAllReduce, Collective::kReduce, Collective::kReduceScatter}) {
      if (longest && collective == Collective::kReduceScatter) continue;
      std::string wrong = rows.call(numbers, collective, kShort, 1);
      if (wrong.empty()) wrong = rows.call(numbers, collective, longest ? kLongest : kLong, roundings);
      if (!wrong.empty()) return wrong;
    }
  }
  for (const auto& [type, bits] : {std::pair{DataType::kFloat16, 0x7b53},  // 60000
                                   {DataType::kFloat8e4m3, 0x7e},          // 448
                                   {DataType::kFloat8e5m2, 0x7b}}) {       // 57344
    if (std::string wrong = rows.average(type, static_cast<uint64_t>(bits)); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace comity::test
