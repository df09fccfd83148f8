// Images: fp32 copies of the tiles of a call of a narrow type, on which its plan is carried out.
//
//   user's input, bf16 --- load: widen ---> image, fp32 --- the plan ---> image, fp32 --- store: round --->
//   output
//
// So partial results are kept and sent in fp32, whatever the plan does, and are rounded once, at the end, to
// equal bits on every rank. An image lies in its window slot's scratch, input blocks first. Memory that the
// CPU cannot address passes through bounce memory: the plan itself runs on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "src/engine/binding.h"

namespace comity::engine {

// A call's own buffers.
struct ImageSource {
  DataType type = DataType::kFloat16;
  uint64_t count = 0;  // elements of a block
  std::byte* input = nullptr;
  std::byte* output = nullptr;
  Device* device = nullptr;      // owns both
  std::byte* scratch = nullptr;  // of all window slots, host memory
  std::byte* bounce = nullptr;   // window * binding.bounce_bytes, where the CPU cannot address the buffers
};

// One thread at a time; nothing here blocks, or allocates after prepare().
class Images {
 public:
  // Not on the hot path.
  void prepare(const Binding& binding);
  void begin(const Binding& binding, const ImageSource& source);
  // Fills the image of a tile in its window slot. False: the device is still copying, ask again.
  Result<bool> load(uint32_t slot, uint64_t tile);
  // Rounds a complete tile's image into the output. False: as above.
  Result<bool> store(uint32_t slot, uint64_t tile);

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

  Span span_of(uint64_t tile) const;
  std::byte* bounce_of(uint32_t slot, uint32_t block) const;
  float* image_of(uint32_t slot, uint32_t block) const;
  std::byte* user_block(std::byte* base, uint32_t block, const Span& span) const;
  Result<bool> moved(Move& move);

  const Binding* binding_ = nullptr;
  ImageSource source_;
  std::vector<Move> moves_;  // by slot
};

}  // namespace comity::engine
