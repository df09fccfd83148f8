// Speed of the host's reductions and copies on one core: every type, operation and instruction set, by size.
//
//   kernels_bench --benchmark_filter='sum/float32/avx512'
//
// Bytes per second count each source once and each destination once. Buffers are offset against each other by
// a line and a half, as buffers that agree in their low twelve address bits would measure store forwarding
// instead.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "src/device/host/kernels.h"

namespace comity {
namespace {

constexpr uint64_t kBytes[] = {8, 64, 4096, 65536, uint64_t{1} << 20, uint64_t{1} << 26};

struct Shape {
  const char* name;
  size_t sources;
  size_t destinations;
  bool in_place;
  bool stream;
};
constexpr Shape kShapes[] = {{"2to1", 2, 1, false, false},
                             {"2to1_stream", 2, 1, false, true},
                             {"2to2_in_place", 2, 2, true, false},
                             {"8to1", 8, 1, false, false}};

void reduce(benchmark::State& state, Isa isa, DataType type, RedOp op, Shape shape, uint64_t bytes) {
  std::vector<std::vector<std::byte>> buffers(shape.sources + shape.destinations);
  std::vector<const std::byte*> sources;
  std::vector<std::byte*> destinations;
  for (size_t k = 0; k < buffers.size(); ++k) {
    buffers[k].resize(bytes + 4096 + 96 * buffers.size());
    std::memset(buffers[k].data(), 0x31, buffers[k].size());
    std::byte* start = buffers[k].data() + (-reinterpret_cast<uintptr_t>(buffers[k].data()) & 4095) + 96 * k;
    if (k < shape.sources) sources.push_back(start);
    if (shape.in_place ? k < shape.destinations : k >= shape.sources) destinations.push_back(start);
  }
  ReduceWork work;
  work.type = type;
  work.op = op;
  work.sources = sources;
  work.destinations = destinations;
  work.count = bytes / size_of(type);
  work.stream_stores = shape.stream;
  for (auto _ : state) {
    reduce_host_with(isa, work);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * bytes * (shape.sources + shape.destinations)));
}

void copy(benchmark::State& state, Isa isa, bool stream, uint64_t bytes) {
  std::vector<std::byte> from(bytes, std::byte{1}), to(bytes);
  for (auto _ : state) {
    copy_host_with(isa, to.data(), from.data(), bytes, stream);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes * 2));
}

void register_reductions(Isa isa, DataType type, RedOp op) {
  for (const Shape& shape : kShapes) {
    for (uint64_t bytes : kBytes) {
      const std::string name =
          fmt::format("{}/{}/{}/{}/{}", name_of(op), name_of(type), name_of(isa), shape.name, bytes);
      benchmark::RegisterBenchmark(name.c_str(), reduce, isa, type, op, shape, bytes);
    }
  }
}

void register_all() {
  for (Isa isa : available_isas()) {
    for (int type = 0; type < kDataTypeCount; ++type) {
      for (RedOp op : {RedOp::kSum, RedOp::kProd, RedOp::kMax, RedOp::kMin}) {
        register_reductions(isa, static_cast<DataType>(type), op);
      }
    }
    for (bool stream : {false, true}) {
      for (uint64_t bytes : kBytes) {
        const std::string name =
            fmt::format("copy/{}/{}/{}", name_of(isa), stream ? "stream" : "plain", bytes);
        benchmark::RegisterBenchmark(name.c_str(), copy, isa, stream, bytes);
      }
    }
  }
}

}  // namespace
}  // namespace comity

int main(int argc, char** argv) {
  comity::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
