// How long a tile is and how many are in flight.
//
// The figures: a message of 256 KiB keeps a path busy and a cache warm; tiles under 64 KiB are not worth
// their bookkeeping; scratch and landings of all tiles in flight stay within 32 MiB.
#pragma once

#include <cstdint>
#include <string_view>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"
#include "src/plan/plan.h"

namespace comity::algorithms {

inline constexpr uint64_t kMessageBytes = 256 << 10;
inline constexpr uint64_t kMinTileBytes = 64 << 10;
inline constexpr uint64_t kLeastTileBytes = 4 << 10;  // where many landings would not fit otherwise
inline constexpr uint64_t kMaxTileBytes = 64 << 20;
inline constexpr uint64_t kFootprintBytes = 32 << 20;

// A shape with its name, collective, rank count and root, `chunks` chunks of equal weight, and defaults
// elsewhere.
plan::Shape make_shape(std::string_view name, Collective collective, const Request& request, uint32_t chunks);

struct Tiling {
  uint64_t messages = 1;   // into which a tile is divided: the tile is so many messages long
  uint64_t footprint = 1;  // tiles' worth of scratch and landings that one tile in flight takes; 0: none
  uint32_t window = 2;     // tiles in flight
};
// Sets tile_bytes and window. A block whose size class (up to twice block_bytes) fits becomes one tile.
void set_tiles(plan::Shape& shape, uint64_t block_bytes, const Tiling& tiling);

// Tile length for an algorithm that pipelines tiles over `depth` hops: about sqrt(bytes * latency * bandwidth
// / depth), where the time to fill the pipe equals the time lost to starting tiles, as a power of two, 64 KiB
// to 1 MiB.
uint64_t pipelined_tile_bytes(const Figures& figures, uint64_t depth);
// Tiles of that length that the block has, at least 1.
uint64_t pipelined_tiles(const Figures& figures, uint64_t tile_bytes);

}  // namespace comity::algorithms
