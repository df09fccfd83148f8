// How steps and tiles end: at once, by a device's token, by a link's word; and the images of a tile in fp32.

#include <algorithm>

#include "src/engine/executor.h"

namespace comity::engine {
namespace {

// The queue of a pending token that stands for a tile's image on its way to the caller.
constexpr uint32_t kImageQueue = UINT32_MAX;

}  // namespace

bool Executor::awaits_device() const {
  if (!tokens_.empty()) return true;
  if (binding_->in_fp32) return images_.awaits_scalar() || images_.moves();
  if (!binding_->on_device) return false;
  const auto end = lanes_.begin() + static_cast<ptrdiff_t>(binding_->lanes.size());
  return (provider_ != nullptr && group_copy_out_) ||
         std::any_of(lanes_.begin(), end, [](const LaneState& lane) { return lane.staged; });
}

void Executor::wait_for(uint32_t lane_index, Result<Token> token, uint32_t tag) {
  const uint32_t queue = queue_of(lane_index);
  Result<bool> done = token.ok() ? args_.device->poll(queue, *token) : Result<bool>(token.status());
  if (!done.ok()) {
    error_ = done.status();
  } else if (*done) {
    set_complete(tag >> 24, tag & 0xffffff);
  } else {
    tokens_.push_back(PendingToken{tag, queue, *token});
  }
}

// A link finished with a send or a receive.
void Executor::completed(uint32_t tag) {
  const uint32_t slot = tag >> 24, id = tag & 0xffffff;
  const BoundStep& step = binding_->steps[id];
  if (!binding_->on_device || step.kind != BoundKind::kRecv) {
    set_complete(slot, id);
    return;
  }
  std::byte* destination =
      step.lands ? args_.scratch + slot * binding_->scratch_bytes + binding_->landing_base + step.landing
                 : at(slot, step.dst, step.extent);
  const uint64_t bytes = bytes_of(slot, step.dst, step.extent);
  if (bytes == 0) return set_complete(slot, id);
  wait_for(0, args_.device->copy(queue_of(0), destination, bounce_of(slot, step), bytes), tag);
}

bool Executor::poll_tokens() {
  bool moved = false;
  for (size_t i = 0; i < tokens_.size();) {
    const bool image = tokens_[i].queue == kImageQueue;
    const uint32_t slot = tokens_[i].tag >> 24;
    Result<bool> done = image ? images_.store(slot, slots_[slot].tile)
                              : args_.device->poll(tokens_[i].queue, tokens_[i].token);
    if (!done.ok()) {
      error_ = done.status();
      return false;
    }
    if (!*done) {
      ++i;
      continue;
    }
    const uint32_t tag = tokens_[i].tag;
    tokens_[i] = tokens_.back();
    tokens_.pop_back();
    if (image) {
      slots_[slot].remaining = 0;
      ++tiles_complete_;
    } else {
      set_complete(slot, tag & 0xffffff);
    }
    moved = true;
  }
  return moved;
}

void Executor::finish_tile(uint32_t slot) {
  if (!binding_->in_fp32 || store_image(slot)) {
    ++tiles_complete_;
    return;
  }
  slots_[slot].remaining = 1;  // until the image has left it
  tokens_.push_back(PendingToken{tag_of(slot, 0), kImageQueue, 0});
}

bool Executor::load_image(uint32_t slot, uint64_t tile) {
  const Result<bool> loaded = images_.load(slot, tile);
  if (!loaded.ok()) error_ = loaded.status();
  slots_[slot].offset = slot * binding_->scratch_bytes;
  return loaded.ok() && *loaded;
}

bool Executor::store_image(uint32_t slot) {
  const Result<bool> stored = images_.store(slot, slots_[slot].tile);
  if (!stored.ok()) error_ = stored.status();
  return stored.ok() && *stored;
}

}  // namespace comity::engine
