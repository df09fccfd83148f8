// Images: copies of the tiles of a call in its accumulator's type, on which its plan is carried out.
//
//   user's input, bf16 --- load: widen ---> image, fp32 --- the plan ---> image, fp32 --- store: round --->
//   output
//
// So partial results are kept and sent in fp32, whatever the plan does, and are rounded once, at the end, to
// equal bits on every rank. Premulsum's images, which are multiplied as they are loaded, have fp32 for types
// of 8 and 16 bits of floating point and else the call's own type. An image lies in its window slot's
// scratch, input blocks first. Memory that the CPU cannot address passes through bounce memory: the plan
// itself runs on the host.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "src/engine/binding.h"
#include "src/engine/varying.h"

namespace comity::engine {

// Multiplies `count` elements; integers wrap.
void scale(DataType type, std::byte* elements, uint64_t count, const std::byte* scalar);
// The one element of `type` at `scalar`, as one of the images' type of calls that scale.
void widen_scalar(DataType type, std::byte* scalar);

// A call's own buffers.
struct ImageSource {
  DataType type = DataType::kFloat16;
  uint64_t count = 0;  // elements of a block
  std::byte* input = nullptr;
  std::byte* output = nullptr;
  Device* device = nullptr;      // owns both
  std::byte* scratch = nullptr;  // of all window slots, host memory
  std::byte* bounce = nullptr;   // window * binding.bounce_bytes, where the CPU cannot address the buffers
  DataType image_type = DataType::kFloat32;
  // What each element is multiplied by, of image_type, valid as long as the call; null: nothing. It is there
  // once `scalar_token` on `scalar_device` is complete, as an element of `type`; null: at once.
  std::byte* scalar = nullptr;
  Device* scalar_device = nullptr;
  Token scalar_token = 0;
  // Not null: input block b has extent b, the one output block `output_extent`.
  const VaryingBlocks* varying = nullptr;
  uint32_t output_extent = 0;
};

// One thread at a time; nothing here blocks, or allocates after prepare().
class Images {
 public:
  // Not on the hot path.
  void prepare(const Binding& binding);
  void begin(const Binding& binding, const ImageSource& source);
  // Fills the image of a tile in its window slot. False: a device is still copying, ask again.
  Result<bool> load(uint32_t slot, uint64_t tile);
  // Rounds a complete tile's image into the output. False: as above.
  Result<bool> store(uint32_t slot, uint64_t tile);
  // Whether the call began with a scalar that a device still copies.
  bool awaits_scalar() const { return source_.scalar_device != nullptr; }
  // Whether a device is copying between the user's memory and bounce memory.
  bool moves() const {
    return std::any_of(moves_.begin(), moves_.end(), [](const Move& move) { return move.issued; });
  }

 private:
  // Where a move between the user's memory and a slot's bounce memory stands.
  struct Move {
    bool issued = false;
    Token token = 0;
  };
  struct Span {
    uint64_t first = 0;  // element of the block
    uint64_t count = 0;
  };

  Span span_of(uint64_t tile, uint32_t extent) const;
  std::byte* bounce_of(uint32_t slot, uint32_t block) const;
  std::byte* image_of(uint32_t slot, uint32_t block) const;
  void fill(std::byte* image, const std::byte* from, uint64_t count) const;
  void empty(const std::byte* image, std::byte* to, uint64_t count) const;
  std::byte* user_input(uint32_t block, const Span& span) const;
  std::byte* user_output(uint32_t block, const Span& span) const;
  Result<bool> moved(Move& move);
  Result<bool> scalar_is_there();

  const Binding* binding_ = nullptr;
  ImageSource source_;
  std::vector<Move> moves_;  // by slot
};

}  // namespace comity::engine
