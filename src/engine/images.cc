#include "src/engine/images.h"

#include <algorithm>
#include <cstring>

#include "src/device/host/kernels.h"

namespace comity::engine {
namespace {

constexpr uint32_t kQueue = 0;  // in order: the last token of a tile's copies is that of all

template <typename T>
void scale_as(std::byte* elements, uint64_t count, const std::byte* scalar) {
  T factor;
  std::memcpy(&factor, scalar, sizeof factor);
  T* const values = reinterpret_cast<T*>(elements);
  // The product of two uint8_t is an int, of two unsigned types as wide as int or wider one of these.
  for (uint64_t i = 0; i < count; ++i) values[i] = static_cast<T>(values[i] * factor);
}

}  // namespace

// The low bits of a product are those of unsigned numbers, whatever the sign.
void scale(DataType type, std::byte* elements, uint64_t count, const std::byte* scalar) {
  if (type == DataType::kFloat32) return scale_as<float>(elements, count, scalar);
  if (type == DataType::kFloat64) return scale_as<double>(elements, count, scalar);
  switch (size_of(type)) {
    case 1:
      return scale_as<uint8_t>(elements, count, scalar);
    case 4:
      return scale_as<uint32_t>(elements, count, scalar);
    default:
      return scale_as<uint64_t>(elements, count, scalar);
  }
}

void widen_scalar(DataType type, std::byte* scalar) {
  if (!is_narrow_float(type)) return;
  float wide = 0;
  decode_floats(best_isa(), type, scalar, &wide, 1);
  std::memcpy(scalar, &wide, sizeof wide);
}

void Images::fill(std::byte* image, const std::byte* from, uint64_t count) const {
  if (count == 0) return;
  if (source_.image_type == source_.type)
    std::memcpy(image, from, count * size_of(source_.type));
  else
    decode_floats(best_isa(), source_.type, from, reinterpret_cast<float*>(image), count);
  if (source_.scalar != nullptr) scale(source_.image_type, image, count, source_.scalar);
}

void Images::empty(const std::byte* image, std::byte* to, uint64_t count) const {
  if (source_.image_type == source_.type)
    std::memcpy(to, image, count * size_of(source_.type));
  else
    encode_floats(best_isa(), source_.type, reinterpret_cast<const float*>(image), to, count);
}

void Images::prepare(const Binding& binding) {
  moves_.resize(std::max<size_t>(moves_.size(), binding.shape.window));
}

void Images::begin(const Binding& binding, const ImageSource& source) {
  binding_ = &binding;
  source_ = source;
  std::fill(moves_.begin(), moves_.end(), Move{});
}

Images::Span Images::span_of(uint64_t tile, uint32_t extent) const {
  const uint64_t tile_count = binding_->shape.tile_bytes / size_of(source_.image_type);
  const uint64_t count = source_.varying == nullptr
                             ? source_.count
                             : source_.varying->length(extent) / size_of(source_.image_type);
  const uint64_t first = std::min(tile * tile_count, count);
  return {first, std::min(tile_count, count - first)};
}

std::byte* Images::bounce_of(uint32_t slot, uint32_t block) const {
  const uint64_t block_bytes = binding_->image_stride / size_of(source_.image_type) * size_of(source_.type);
  return source_.bounce + slot * binding_->bounce_bytes + block * block_bytes;
}

std::byte* Images::image_of(uint32_t slot, uint32_t block) const {
  return source_.scratch + slot * binding_->scratch_bytes + binding_->image_base +
         block * binding_->image_stride;
}

std::byte* Images::user_input(uint32_t block, const Span& span) const {
  const uint64_t element = size_of(source_.type);
  if (source_.varying != nullptr && !source_.varying->input_offsets.empty())
    return source_.input + source_.varying->input_offsets[block] + span.first * element;
  return source_.input + (block * source_.count + span.first) * element;
}

std::byte* Images::user_output(uint32_t block, const Span& span) const {
  return source_.output + (block * source_.count + span.first) * size_of(source_.type);
}

Result<bool> Images::moved(Move& move) {
  COMITY_ASSIGN_OR_RETURN(const bool done, source_.device->poll(kQueue, move.token));
  if (done) move = Move{};
  return done;
}

Result<bool> Images::scalar_is_there() {
  if (source_.scalar_device == nullptr) return true;
  COMITY_ASSIGN_OR_RETURN(const bool done, source_.scalar_device->poll(kQueue, source_.scalar_token));
  if (!done) return false;
  source_.scalar_device = nullptr;
  widen_scalar(source_.type, source_.scalar);
  return true;
}

Result<bool> Images::load(uint32_t slot, uint64_t tile) {
  COMITY_ASSIGN_OR_RETURN(const bool scales, scalar_is_there());
  if (!scales) return false;
  const bool addressable = source_.device->host_addressable();
  Move& move = moves_[slot];
  if (!addressable) {
    for (uint32_t block = 0; !move.issued && block < binding_->image_inputs; ++block) {
      const Span span = span_of(tile, block);
      if (span.count == 0) continue;
      COMITY_ASSIGN_OR_RETURN(move.token,
                              source_.device->copy(kQueue, bounce_of(slot, block), user_input(block, span),
                                                   span.count * size_of(source_.type)));
    }
    move.issued = true;
    COMITY_ASSIGN_OR_RETURN(const bool done, moved(move));
    if (!done) return false;
  }
  for (uint32_t block = 0; block < binding_->image_inputs; ++block) {
    const Span span = span_of(tile, block);
    const std::byte* from = addressable ? user_input(block, span) : bounce_of(slot, block);
    fill(image_of(slot, block), from, span.count);
  }
  return true;
}

Result<bool> Images::store(uint32_t slot, uint64_t tile) {
  const Span span = span_of(tile, source_.output_extent);
  const bool addressable = source_.device->host_addressable();
  Move& move = moves_[slot];
  for (uint32_t block = 0; !move.issued && span.count != 0 && block < binding_->image_outputs; ++block) {
    std::byte* user = user_output(block, span);
    std::byte* to = addressable ? user : bounce_of(slot, block);
    empty(image_of(slot, binding_->image_inputs + block), to, span.count);
    if (addressable) continue;
    COMITY_ASSIGN_OR_RETURN(move.token,
                            source_.device->copy(kQueue, user, to, span.count * size_of(source_.type)));
  }
  if (addressable || span.count == 0) return true;
  move.issued = true;
  return moved(move);
}

}  // namespace comity::engine
