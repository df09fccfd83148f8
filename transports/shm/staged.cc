#include "transports/shm/staged.h"

#include <algorithm>
#include <array>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

namespace comity::shm {
namespace {

constexpr uint64_t kAlign = 64;
// Slots: with cores to spare small ones, so that all fit into a core's cache; on shared cores large ones,
// since every window costs everyone a turn on the core.
constexpr uint64_t kSlotBytes = 64 * 1024;
constexpr uint64_t kSlots = 4;
constexpr uint64_t kCrowdedSlotBytes = kStagingBytes / kSlots;
// Copied per advance(); see DirectPath.
constexpr uint64_t kWorkBytes = 4 * 1024 * 1024;
// A message below two windows' worth is still cut into a few, which overlap.
constexpr uint64_t kLeastWindowBytes = 32 * 1024;
// One-shot moves (p+3)S and waits once, two-shot about 5S and waits twice: two members always gain by the
// first.
constexpr uint64_t kOneShotBytes = 32 * 1024;

}  // namespace

void StagedPath::prepare() {
  slot_bytes_ = core_.members_crowded ? kCrowdedSlotBytes : kSlotBytes;
  slot_used_.assign(kSlots, 0);
  sources_.resize(core_.size());
}

void StagedPath::start() {
  const uint64_t p = core_.size();
  const Collective collective = shape_.call->collective;
  const bool slices = collective == Collective::kAllReduce || collective == Collective::kReduce;
  two_shot_ = slices && p > 2 && shape_.length * p > kOneShotBytes;
  span_ = shape_.has_blocks() ? shape_.longest_block : shape_.length;
  // Where members give a block to each other every block has its share of a slot.
  const uint64_t shares = !has_input_blocks(collective) ? 1
                          : shape_.is_personal()        ? std::max<uint64_t>(p - 1, 1)
                                                        : p;
  const uint64_t most = slot_bytes_ / shares / kAlign * kAlign;
  const uint64_t wanted = round_up(divide_up(span_, 4), kAlign);
  window_bytes_ =
      core_.members_crowded
          ? most
          : std::clamp(wanted, std::min(kLeastWindowBytes / shares / kAlign * kAlign, most), most);
  windows_ = divide_up(span_, window_bytes_);
  pooled_ = two_shot_ && core_.members_crowded && windows_ == 1;
  last_stage_ = two_shot_ && !pooled_;
  early_ = false;
  stream_ = false;
  iteration_ = 0;
  stage_ = 0;
}

void StagedPath::set_stream(bool stream) {
  stream_ = stream && !(is_reduction(shape_.call->collective) && shape_.in_place());
}

StagedPath::Range StagedPath::window(uint64_t w) const {
  return {std::min(span_, w * window_bytes_), std::min(span_, (w + 1) * window_bytes_)};
}

StagedPath::Range StagedPath::slice(Range window, uint32_t member) const {
  const uint64_t lines = divide_up(window.bytes(), kAlign);
  const uint64_t p = core_.size();
  return {std::min(window.end, window.begin + lines * member / p * kAlign),
          std::min(window.end, window.begin + lines * (member + 1) / p * kAlign)};
}

StagedPath::Range StagedPath::block_window(uint64_t w, uint32_t block) const {
  const Range whole = window(w);
  const uint64_t length = shape_.block_length(block);
  return {std::min(length, whole.begin), std::min(length, whole.end)};
}

std::byte* StagedPath::slot(uint32_t member, uint64_t w) const {
  return core_.members[member].buffers->staging + (base_ + w) % kSlots * slot_bytes_;
}

// Which share of the giver's slot member k's block has: where nothing is reduced none is the giver's own.
uint64_t StagedPath::share(uint32_t giver, uint32_t k) const {
  return shape_.is_personal() && k > giver ? k - 1 : k;
}

void StagedPath::copy_in_early() {
  // Whoever said hello to the last call has finished all calls before it.
  if (windows_ == 0 || slot_used_[base_ % kSlots] + 2 > core_.sequence) return;
  copy_in(0);
  core_.post(1);
  early_ = true;
}

void StagedPath::copy_in(uint64_t w) {
  const GroupCall& call = *shape_.call;
  std::byte* to = slot(core_.me, w);
  slot_used_[(base_ + w) % kSlots] = core_.sequence;
  const Range range = window(w);
  switch (call.collective) {
    case Collective::kAllReduce:
    case Collective::kReduce: {
      if (!two_shot_ || pooled_) {
        if (pooled_ || call.collective == Collective::kAllReduce || !shape_.is_root()) {
          copy_host(to, shape_.src() + range.begin, range.bytes(), false);
        }
        return;
      }
      const Range mine = slice(range, core_.me);
      copy_host(to, shape_.src() + range.begin, mine.begin - range.begin, false);
      copy_host(to + (mine.end - range.begin), shape_.src() + mine.end, range.end - mine.end, false);
      return;
    }
    case Collective::kBroadcast:
      if (shape_.is_root()) copy_host(to, shape_.src() + range.begin, range.bytes(), false);
      return;
    case Collective::kAllGather: {
      const Range mine = block_window(w, core_.me);
      copy_host(to, shape_.src() + mine.begin, mine.bytes(), false);
      if (!shape_.in_place()) {
        copy_host(call.dst[core_.me].data + mine.begin, shape_.src() + mine.begin, mine.bytes(), stream_);
      }
      return;
    }
    case Collective::kReduceScatter:
    case Collective::kAllToAll:
    case Collective::kScatter:
      for (uint32_t j = 0; shape_.gives() && j < core_.size(); ++j) {
        if (j == core_.me) continue;
        const Range part = block_window(w, j);
        copy_host(to + share(core_.me, j) * window_bytes_, call.src[j].data + part.begin, part.bytes(),
                  false);
      }
      return;
    case Collective::kGather:
      if (shape_.gives()) copy_host(to, shape_.src() + range.begin, range.bytes(), false);
      return;
    default:
      return;
  }
}

// Folds bytes `at` of the output: from `in_slot` on in the others' slots of window w, and from `own`.
// `second`, unless null, gets the result too.
void StagedPath::reduce(Range at, uint64_t in_slot, uint64_t w, const std::byte* own, std::byte* second) {
  if (at.bytes() == 0) return;
  const GroupCall& call = *shape_.call;
  for (uint32_t k = 0; k < core_.size(); ++k) sources_[k] = k == core_.me ? own : slot(k, w) + in_slot;
  std::array<std::byte*, 2> destinations{};
  size_t count = 0;
  if (shape_.has_dst()) destinations[count++] = shape_.dst() + at.begin;
  if (second != nullptr) destinations[count++] = second;
  reduce_host(ReduceWork{call.type, call.op, sources_, std::span(destinations.data(), count),
                         at.bytes() / size_of(call.type), call.divisor, stream_ && second == nullptr});
}

void StagedPath::reduce_window(uint64_t w) {
  if (!shape_.has_dst()) return;
  const Range range = window(w);
  reduce(range, 0, w, shape_.src() + range.begin, nullptr);
}

void StagedPath::reduce_slice(uint64_t w) {
  const Range range = window(w);
  const Range mine = slice(range, core_.me);
  const uint64_t in_slot = mine.begin - range.begin;
  const bool others_want_it = shape_.call->collective == Collective::kAllReduce || !shape_.is_root();
  reduce(mine, in_slot, w, shape_.src() + mine.begin, others_want_it ? slot(core_.me, w) + in_slot : nullptr);
}

void StagedPath::reduce_block(uint64_t w) {
  const Range mine = block_window(w, core_.me);
  reduce(mine, core_.me * window_bytes_, w, shape_.call->src[core_.me].data + mine.begin, nullptr);
}

void StagedPath::gather(uint64_t w) {
  const GroupCall& call = *shape_.call;
  if (call.collective == Collective::kBroadcast) {
    const Range range = window(w);
    if (!shape_.is_root()) copy_host(shape_.dst() + range.begin, slot(call.root, w), range.bytes(), stream_);
    if (shape_.is_root() && !shape_.in_place()) {
      copy_host(shape_.dst() + range.begin, shape_.src() + range.begin, range.bytes(), stream_);
    }
    return;
  }
  if (shape_.is_personal() && (w == 0)) shape_.keep_own_block();
  if (!shape_.has_dst()) return;
  if (call.collective == Collective::kScatter) {
    const Range part = block_window(w, core_.me);
    if (!shape_.is_root()) {
      copy_host(shape_.dst() + part.begin, slot(call.root, w) + share(call.root, core_.me) * window_bytes_,
                part.bytes(), stream_);
    }
    return;
  }
  const bool shared = call.collective == Collective::kAllToAll;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k == core_.me) continue;
    const Range part = block_window(w, k);
    copy_host(call.dst[k].data + part.begin, slot(k, w) + (shared ? share(k, core_.me) * window_bytes_ : 0),
              part.bytes(), stream_);
  }
}

void StagedPath::copy_out_slices(uint64_t w) {
  if (!shape_.has_dst()) return;
  const Range range = window(w);
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k == core_.me) continue;
    const Range part = slice(range, k);
    copy_host(shape_.dst() + part.begin, slot(k, w) + (part.begin - range.begin), part.bytes(), stream_);
  }
}

// The fold of slice k replaces member k's part of it, which nobody else reads any more.
void StagedPath::reduce_pooled_slice(uint32_t k) {
  const GroupCall& call = *shape_.call;
  const Range part = slice(window(0), k);
  if (part.bytes() == 0) return;
  for (uint32_t j = 0; j < core_.size(); ++j) sources_[j] = slot(j, 0) + part.begin;
  std::byte* destination = slot(k, 0) + part.begin;
  reduce_host(ReduceWork{call.type, call.op, sources_, std::span(&destination, 1),
                         part.bytes() / size_of(call.type), call.divisor, false});
}

// One window, slices as tickets: a member comes to its core once, unless it comes before the last.
Progress StagedPath::advance_pooled() {
  bool worked = !early_;
  if (!early_) {
    copy_in(0);
    core_.post(1);
    early_ = true;
  }
  if (!core_.spin([this] { return core_.all_did(1); })) return worked ? Progress::kAdvanced : Progress::kBusy;
  const uint64_t tickets = core_.size();
  for (int64_t k = core_.take_ticket(tickets); k >= 0; k = core_.take_ticket(tickets)) {
    reduce_pooled_slice(static_cast<uint32_t>(k));
    core_.finish_ticket(tickets);
    worked = true;
  }
  if (!core_.spin([&] { return core_.tickets_finished(tickets); }))
    return worked ? Progress::kAdvanced : Progress::kBusy;
  for (uint32_t k = 0; shape_.has_dst() && k < core_.size(); ++k) {
    const Range part = slice(window(0), k);
    copy_host(shape_.dst() + part.begin, slot(k, 0) + part.begin, part.bytes(), false);
  }
  base_ += 1;
  return Progress::kDone;
}

bool StagedPath::stage_in(uint64_t t) {
  if (t >= windows_ || (t == 0 && early_)) return true;
  if (t >= kSlots && !core_.spin([&] { return core_.all_did(final_step(t - kSlots)); })) return false;
  copy_in(t);
  core_.post(3 * t + 1);
  return true;
}

bool StagedPath::stage_middle(uint64_t w) {
  if (!core_.spin([&] { return core_.all_did(3 * w + 1); })) return false;
  const bool blocks = shape_.has_blocks();
  if (!is_reduction(shape_.call->collective)) {
    gather(w);
  } else if (blocks) {
    reduce_block(w);
  } else if (two_shot_) {
    reduce_slice(w);
  } else {
    reduce_window(w);
  }
  // The last windows of a call are nobody's to wait for: the next hello tells that they are done.
  if (last_stage_ || w + kSlots < windows_) core_.post(3 * (w + 1) + 2);
  return true;
}

bool StagedPath::stage_last(uint64_t w) {
  if (!core_.spin([&] { return core_.all_did(3 * (w + 1) + 2); })) return false;
  copy_out_slices(w);
  if (w + kSlots < windows_) core_.post(3 * (w + 2) + 3);
  return true;
}

Progress StagedPath::advance() {
  if (pooled_) return advance_pooled();
  const uint64_t lag = last_stage_ ? 2 : 1;
  const auto place = [this] { return iteration_ * 3 + stage_; };
  const uint64_t before = place();
  const auto so_far = [&] { return place() == before ? Progress::kBusy : Progress::kAdvanced; };
  uint64_t worked = 0;
  for (; iteration_ < windows_ + lag; ++iteration_, stage_ = 0, worked += slot_bytes_) {
    if (worked >= kWorkBytes) return core_.beat();
    const uint64_t t = iteration_;
    if (stage_ == 0) {
      if (!stage_in(t)) return so_far();
      stage_ = 1;
    }
    if (stage_ == 1) {
      if (t >= 1 && t - 1 < windows_ && !stage_middle(t - 1)) return so_far();
      stage_ = 2;
    }
    if (last_stage_ && t >= 2 && !stage_last(t - 2)) return so_far();
  }
  base_ += windows_;
  return Progress::kDone;
}

}  // namespace comity::shm
