// The calls whose instructions the guard counts. Run under callgrind by guard.py, which reads one dump per
// call, named "<how many> x <what>". README.md of perf tells the whole.
#include <fmt/core.h>
#include <valgrind/callgrind.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "perf/guard/ranks.h"
#include "perf/guard/wire.h"
#include "src/device/host/kernels.h"

namespace comity::guard {
namespace {

constexpr uint32_t kWarm = 64, kCounted = 64;
constexpr uint32_t kWarmLong = 4, kCountedLong = 8;  // calls of 1 MiB

enum class Memory { kRegistered, kPlain };

struct Measured {
  const char* name;
  Collective collective;
  uint64_t bytes;
  Memory memory;
};

constexpr Measured kShared[] = {
    {"all-reduce of 8 B, registered, shm", Collective::kAllReduce, 8, Memory::kRegistered},
    {"all-reduce of 8 B, plain, shm", Collective::kAllReduce, 8, Memory::kPlain},
    {"all-reduce of 64 KiB, registered, shm", Collective::kAllReduce, 65536, Memory::kRegistered},
    {"all-reduce of 64 KiB, plain, shm", Collective::kAllReduce, 65536, Memory::kPlain},
    {"broadcast of 8 B, shm", Collective::kBroadcast, 8, Memory::kPlain},
    {"barrier, shm", Collective::kBarrier, 0, Memory::kPlain}};
constexpr Measured kSockets[] = {
    {"all-reduce of 8 B, tcp", Collective::kAllReduce, 8, Memory::kPlain},
    {"all-reduce of 1 MiB, tcp", Collective::kAllReduce, 1 << 20, Memory::kPlain}};

// Every rank's buffers. Plain ones begin at a page, so that no run differs by where malloc put them.
class Buffers {
 public:
  Buffers(const Measured& measured, Device& host) : measured_(measured), host_(host) {
    for (uint32_t i = 0; i < 2 * kRanks; ++i) memory_.push_back(static_cast<float*>(allocate()));
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      std::fill_n(input(rank), room() / sizeof(float), static_cast<float>(rank + 1));
      std::fill_n(output(rank), room() / sizeof(float), -1.0F);
    }
  }
  ~Buffers() {
    for (float* each : memory_) {
      if (measured_.memory == Memory::kPlain)
        std::free(each);
      else
        must(host_.release(each), "release");
    }
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  std::vector<engine::Call> calls() {
    std::vector<engine::Call> calls;
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      engine::Call& call = calls.emplace_back();
      call.collective = measured_.collective;
      call.type = DataType::kFloat32;
      call.count = measured_.bytes / sizeof(float);
      call.input = input(rank);
      call.output = output(rank);
    }
    return calls;
  }
  // A call that did nothing would be a fast one.
  void check() {
    if (measured_.collective == Collective::kBarrier) return;
    const float right = measured_.collective == Collective::kBroadcast ? 1.0F : kRanks * (kRanks + 1) / 2.0F;
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      const float* begin = output(rank);
      const float* end = begin + measured_.bytes / sizeof(float);
      if (std::find_if(begin, end, [&](float got) { return got != right; }) != end)
        must(Status(Code::kInternalError, "a wrong result"), measured_.name);
    }
  }

 private:
  float* input(uint32_t rank) { return memory_[rank]; }
  float* output(uint32_t rank) { return memory_[kRanks + rank]; }
  uint64_t room() const { return std::max<uint64_t>(measured_.bytes, 4096); }
  void* allocate() {
    if (measured_.memory == Memory::kPlain) return std::aligned_alloc(4096, room());
    auto made = host_.allocate(room());
    must(made.status(), "allocate");
    return *made;
  }

  const Measured& measured_;
  Device& host_;
  std::vector<float*> memory_;
};

void measure(Ranks& ranks, const Measured& measured, Device& host) {
  const bool is_long = measured.bytes >= 1 << 20;
  const uint32_t counted = is_long ? kCountedLong : kCounted;
  Buffers buffers(measured, host);
  const auto calls = buffers.calls();
  for (uint32_t i = 0; i < (is_long ? kWarmLong : kWarm); ++i) ranks.run(calls);
  count_from_here();
  for (uint32_t i = 0; i < counted; ++i) ranks.run(calls);
  count_to_here();
  buffers.check();
  const std::string name = fmt::format("{} x {}", counted, measured.name);
  CALLGRIND_DUMP_STATS_AT(name.c_str());
}

void measure_all() {
  auto made = DeviceRegistry::open("");
  must(made.status(), "devices");
  DeviceRegistry& devices = **made;
  {
    Ranks ranks = Ranks::over_shared_memory(devices);
    for (const Measured& measured : kShared) measure(ranks, measured, devices.host());
  }
  Ranks ranks = Ranks::over_tcp(devices);
  if (take_over() < kRanks * (kRanks - 1) / 2)
    must(Status(Code::kInternalError, "too few connections"), "tcp");
  for (const Measured& measured : kSockets) measure(ranks, measured, devices.host());
  // Else the transport moves its bytes by calls that are not wrapped, and counts depend on the kernel.
  if (scripted_bytes() < 1 << 20) must(Status(Code::kInternalError, "sockets were not scripted"), "tcp");
  give_back();
}

}  // namespace
}  // namespace comity::guard

int main() {
  const auto isas = comity::available_isas();
  if (std::find(isas.begin(), isas.end(), comity::Isa::kAvx2) == isas.end()) {
    fmt::print("guard: Skipped\nneeds AVX2\n");
    return 77;
  }
  comity::use_isa(comity::Isa::kAvx2);
  comity::guard::measure_all();
  return 0;
}
