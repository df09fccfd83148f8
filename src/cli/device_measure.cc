#include "src/cli/device_measure.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "comity/plugin/types.h"
#include "src/base/clock.h"

namespace comity::cli {
namespace {

constexpr uint64_t kBytes = uint64_t{32} << 20;
constexpr int kRounds = 5;
constexpr int kLatencyRounds = 200;

// Nanoseconds of the fastest round, from the issue to the end.
double fastest_ns(DeviceLab& lab, int rounds, const std::function<void()>& issue) {
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    const uint64_t begin = now_ns();
    issue();
    lab.finish(lab.queue(0));
    const auto ns = static_cast<double>(now_ns() - begin);
    best = round == 0 ? ns : std::min(best, ns);
  }
  return best;
}

Figure bandwidth(std::string what, uint64_t bytes, double ns) {
  return {std::move(what), static_cast<double>(bytes) / ns, "GB/s"};
}

}  // namespace

std::vector<Figure> measure_device(DeviceLab& lab) {
  std::vector<Figure> figures;
  Bytes& host = lab.keep(Bytes(kBytes));
  std::byte* memory[3] = {lab.memory(kBytes), lab.memory(kBytes), lab.memory(kBytes)};
  for (std::byte* each : memory) lab.copy(lab.queue(0), each, host.data(), kBytes, COMITY_DEVICE_COPY_IN);
  const auto copies = [&](const char* what, void* to, const void* from, uint32_t way) {
    const double ns = fastest_ns(lab, kRounds, [&] { lab.copy(lab.queue(0), to, from, kBytes, way); });
    figures.push_back(bandwidth(what, kBytes, ns));
  };
  copies("copy to the device", memory[0], host.data(), COMITY_DEVICE_COPY_IN);
  copies("copy from the device", host.data(), memory[0], COMITY_DEVICE_COPY_OUT);
  copies("copy within the device", memory[1], memory[0], COMITY_DEVICE_COPY_WITHIN);
  const double latency = fastest_ns(lab, kLatencyRounds, [&] {
    lab.copy(lab.queue(0), memory[1], memory[0], 1, COMITY_DEVICE_COPY_WITHIN);
  });
  figures.push_back({"copy of a byte, from issue to completion", latency / 1000, "us"});
  if (lab.table().reduce == nullptr || (lab.properties().flags & COMITY_DEVICE_CANONICAL) == 0)
    return figures;
  for (uint32_t type = 0; type < COMITY_DEVICE_TYPES; ++type) {
    const void* sources[2] = {memory[0], memory[1]};
    comityDeviceReduction work{};
    work.size = sizeof work;
    work.type = type;
    work.sources = sources;
    work.source_count = 2;
    work.destination = memory[2];
    work.count = kBytes / size_of(static_cast<DataType>(type));
    if (!lab.reduce(lab.queue(0), work)) continue;
    const double ns = fastest_ns(lab, kRounds, [&] { lab.reduce(lab.queue(0), work); });
    figures.push_back(
        bandwidth(fmt::format("sum of two {}", name_of(static_cast<DataType>(type))), 3 * kBytes, ns));
  }
  return figures;
}

}  // namespace comity::cli
