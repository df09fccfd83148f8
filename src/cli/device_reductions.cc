#include "src/cli/device_reductions.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/device/host/kernels.h"

namespace comity::cli {
namespace {

constexpr RedOp kOps[] = {RedOp::kSum, RedOp::kProd, RedOp::kMax, RedOp::kMin};
constexpr uint32_t kMostSources = 16;

struct Case {
  DataType type;
  RedOp op;
  uint32_t sources;
  uint64_t count;
  uint32_t divisor = 0;
  bool in_place = false;
  uint64_t skipped = 0;  // elements before the first, so that ranges begin anywhere
};

std::string words(const Case& its) {
  return fmt::format("{} {} of {} sources, {} elements{}{}{}", name_of(its.type), name_of(its.op),
                     its.sources, its.count,
                     its.divisor != 0 ? fmt::format(", divided by {}", its.divisor) : "",
                     its.in_place ? ", in place" : "", its.skipped != 0 ? ", from the middle" : "");
}

void expect_equal(const Bytes& got, const Bytes& want, size_t element, const std::string& what) {
  if (got == want) return;
  const auto differs = std::mismatch(got.begin(), got.end(), want.begin()).first - got.begin();
  const size_t at = static_cast<size_t>(differs) / element * element;
  std::string bits[2];
  for (size_t byte = element; byte-- > 0;) {
    bits[0] += fmt::format("{:02x}", static_cast<unsigned>(got[at + byte]));
    bits[1] += fmt::format("{:02x}", static_cast<unsigned>(want[at + byte]));
  }
  throw Broken(
      fmt::format("{}: element {} is 0x{}, and should be 0x{}", what, at / element, bits[0], bits[1]));
}

class Reductions {
 public:
  Reductions(DeviceLab& lab, DataType type) : lab_(lab), type_(type), element_(size_of(type)) {}

  // False: the device does not have it.
  bool check(const Case& its) {
    make_sources(its);
    Bytes want((its.count + its.skipped) * element_);
    const auto host = reduce_on_host(its, want);
    comityDeviceReduction work = work_of(its);
    std::byte* result = its.in_place ? device_[0] : lab_.memory(Bytes(want.size()));
    work.destination = result + its.skipped * element_;
    if (!lab_.reduce(lab_.queue(0), work)) return false;
    Bytes got = lab_.content(result, want.size());
    const auto from = static_cast<ptrdiff_t>(its.skipped * element_);
    expect_equal({got.begin() + from, got.end()}, host, element_, words(its));
    return true;
  }

  // The same by accumulators: the first half of the sources, then the rest onto it.
  bool check_chain(const Case& its) {
    make_sources(its);
    Bytes want(its.count * element_);
    const auto host = reduce_on_host(its, want);
    const uint64_t wide = is_narrow_float(type_) ? sizeof(float) : element_;
    std::byte* accumulators = lab_.memory(its.count * wide);
    std::byte* result = lab_.memory(Bytes(want.size()));
    comityDeviceReduction first = work_of(its);
    const uint32_t half = its.sources / 2;
    first.source_count = half;
    first.divisor = 0;
    first.flags = COMITY_DEVICE_INTO_ACCUMULATOR;
    first.destination = accumulators;
    if (!lab_.reduce(lab_.queue(0), first)) return false;
    comityDeviceReduction second = work_of(its);
    pointers_[half - 1] = accumulators;
    second.sources = pointers_.data() + half - 1;
    second.source_count = its.sources - half + 1;
    second.flags = COMITY_DEVICE_FIRST_IS_ACCUMULATOR;
    second.destination = result;
    if (!lab_.reduce(lab_.queue(0), second)) return false;
    expect_equal(lab_.content(result, want.size()), host, element_, words(its) + ", by accumulators");
    return true;
  }

 private:
  void make_sources(const Case& its) {
    host_.clear();
    device_.clear();
    pointers_.clear();
    for (uint32_t source = 0; source < its.sources; ++source) {
      host_.push_back(random_bytes((its.count + its.skipped) * element_, its.count * 31 + source));
      device_.push_back(lab_.memory(host_.back()));
      pointers_.push_back(device_.back() + its.skipped * element_);
    }
  }

  Bytes reduce_on_host(const Case& its, Bytes& room) const {
    std::vector<const std::byte*> sources;
    for (const Bytes& each : host_) sources.push_back(each.data() + its.skipped * element_);
    std::byte* destination = room.data() + its.skipped * element_;
    ReduceWork work;
    work.type = type_;
    work.op = its.op;
    work.sources = sources;
    work.destinations = std::span(&destination, 1);
    work.count = its.count;
    work.divisor = its.divisor;
    reduce_host(work);
    return {room.begin() + static_cast<ptrdiff_t>(its.skipped * element_), room.end()};
  }

  comityDeviceReduction work_of(const Case& its) const {
    comityDeviceReduction work{};
    work.size = sizeof work;
    work.type = static_cast<uint32_t>(its.type);
    work.op = static_cast<uint32_t>(its.op);
    work.sources = pointers_.data();
    work.source_count = its.sources;
    work.divisor = its.divisor;
    work.count = its.count;
    return work;
  }

  DeviceLab& lab_;
  const DataType type_;
  const size_t element_;
  std::vector<Bytes> host_;
  std::vector<std::byte*> device_;
  std::vector<const void*> pointers_;
};

}  // namespace

ReductionsFound check_reductions(DeviceLab& lab, DataType type) {
  if (lab.table().reduce == nullptr || (lab.properties().flags & COMITY_DEVICE_CANONICAL) == 0)
    return {false, "the host does: the device has none, or none that is canonical"};
  Reductions reductions(lab, type);
  const uint32_t most = std::min(lab.properties().max_sources, kMostSources);
  ReductionsFound found;
  const auto left_to_host = [&](std::string_view what) {
    found.detail += fmt::format("{}{}", found.detail.empty() ? "the host does " : ", ", what);
  };
  for (const RedOp op : kOps) {
    bool there = reductions.check({type, op, 2, 1009});
    if (!there) {
      left_to_host(name_of(op));
      continue;
    }
    found.any = true;
    for (const uint32_t sources : {1u, 3u, most}) {
      if (sources <= most) there = reductions.check({type, op, sources, 10'007}) && there;
    }
    there = reductions.check({type, op, 2, 1}) && there;
    there = reductions.check({type, op, 2, 10'007, 0, true}) && there;
    there = reductions.check({type, op, 2, 3001, 0, false, 5}) && there;
    if (!there)
      throw Broken(
          fmt::format("{} {} is there for some numbers of sources only", name_of(type), name_of(op)));
  }
  if (!found.any) return found;
  if (!reductions.check({type, RedOp::kSum, 2, 1009, 3})) left_to_host("averages");
  if (!reductions.check_chain({type, RedOp::kSum, std::min(4u, most), 1009, 3}))
    left_to_host(fmt::format("those of more than {} sources", lab.properties().max_sources));
  return found;
}

}  // namespace comity::cli
