#include "algorithms/tiling.h"

#include <algorithm>
#include <bit>

namespace comity::algorithms {

plan::Shape make_shape(std::string_view name, Collective collective, const Request& request,
                       uint32_t chunks) {
  plan::Shape shape;
  shape.algorithm = name;
  shape.collective = collective;
  shape.nranks = request.topology->nranks();
  shape.root = request.root;
  shape.weights.assign(chunks, 1);
  return shape;
}

void set_tiles(plan::Shape& shape, uint64_t block_bytes, const Tiling& tiling) {
  const uint64_t in_flight = std::max<uint64_t>(tiling.footprint * tiling.window, 1);
  uint64_t longest = std::min(kMessageBytes * std::max<uint64_t>(tiling.messages, 1), kMaxTileBytes);
  if (tiling.footprint > 0) longest = std::min(longest, kFootprintBytes / in_flight);
  longest = std::bit_floor(std::max(longest, kLeastTileBytes));
  const uint64_t whole_class = std::bit_ceil(std::clamp<uint64_t>(block_bytes, 1, kMaxTileBytes)) * 2;
  shape.tile_bytes = std::clamp(whole_class, std::min(kMinTileBytes, longest), longest);
  shape.window = tiling.window;
}

uint64_t pipelined_tile_bytes(const Figures& figures, uint64_t depth) {
  const topology::Path& path = figures.groups == 1 ? figures.inside : figures.across;
  const Wide square = figures.bytes * path.latency_ns * path.bandwidth_bytes_per_s / 1'000'000'000 /
                      std::max<uint64_t>(depth, 1);
  uint64_t tile = kMinTileBytes;
  while (tile < (1u << 20) && Wide(tile) * tile * 2 < square) tile *= 2;
  return tile;
}

uint64_t pipelined_tiles(const Figures& figures, uint64_t tile_bytes) {
  return std::max<uint64_t>(static_cast<uint64_t>((figures.bytes + tile_bytes - 1) / tile_bytes), 1);
}

}  // namespace comity::algorithms
