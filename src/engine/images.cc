#include "src/engine/images.h"

#include <algorithm>

#include "src/device/host/kernels.h"

namespace comity::engine {
namespace {

constexpr uint32_t kQueue = 0;  // in order: the last token of a tile's copies is that of all

}  // namespace

void Images::prepare(const Binding& binding) {
  moves_.resize(std::max<size_t>(moves_.size(), binding.shape.window));
}

void Images::begin(const Binding& binding, const ImageSource& source) {
  binding_ = &binding;
  source_ = source;
  std::fill(moves_.begin(), moves_.end(), Move{});
}

Images::Span Images::span_of(uint64_t tile) const {
  const uint64_t first = tile * binding_->shape.tile_bytes / sizeof(float);
  return {first, std::min(binding_->shape.tile_bytes / sizeof(float), source_.count - first)};
}

std::byte* Images::bounce_of(uint32_t slot, uint32_t block) const {
  const uint64_t block_bytes = binding_->image_stride / sizeof(float) * size_of(source_.type);
  return source_.bounce + slot * binding_->bounce_bytes + block * block_bytes;
}

float* Images::image_of(uint32_t slot, uint32_t block) const {
  return reinterpret_cast<float*>(source_.scratch + slot * binding_->scratch_bytes + binding_->image_base +
                                  block * binding_->image_stride);
}

std::byte* Images::user_block(std::byte* base, uint32_t block, const Span& span) const {
  return base + (block * source_.count + span.first) * size_of(source_.type);
}

Result<bool> Images::moved(Move& move) {
  COMITY_ASSIGN_OR_RETURN(const bool done, source_.device->poll(kQueue, move.token));
  if (done) move = Move{};
  return done;
}

Result<bool> Images::load(uint32_t slot, uint64_t tile) {
  const Span span = span_of(tile);
  const bool addressable = source_.device->host_addressable();
  Move& move = moves_[slot];
  if (!addressable) {
    for (uint32_t block = 0; !move.issued && block < binding_->image_inputs; ++block) {
      COMITY_ASSIGN_OR_RETURN(move.token, source_.device->copy(kQueue, bounce_of(slot, block),
                                                               user_block(source_.input, block, span),
                                                               span.count * size_of(source_.type)));
    }
    move.issued = true;
    COMITY_ASSIGN_OR_RETURN(const bool done, moved(move));
    if (!done) return false;
  }
  for (uint32_t block = 0; block < binding_->image_inputs; ++block) {
    const std::byte* from = addressable ? user_block(source_.input, block, span) : bounce_of(slot, block);
    decode_floats(best_isa(), source_.type, from, image_of(slot, block), span.count);
  }
  return true;
}

Result<bool> Images::store(uint32_t slot, uint64_t tile) {
  const Span span = span_of(tile);
  const bool addressable = source_.device->host_addressable();
  Move& move = moves_[slot];
  for (uint32_t block = 0; !move.issued && block < binding_->image_outputs; ++block) {
    std::byte* user = user_block(source_.output, block, span);
    std::byte* to = addressable ? user : bounce_of(slot, block);
    encode_floats(best_isa(), source_.type, image_of(slot, binding_->image_inputs + block), to, span.count);
    if (addressable) continue;
    COMITY_ASSIGN_OR_RETURN(move.token,
                            source_.device->copy(kQueue, user, to, span.count * size_of(source_.type)));
  }
  if (addressable) return true;
  move.issued = true;
  return moved(move);
}

}  // namespace comity::engine
