#include "transports/shm/direct.h"

#include <algorithm>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

namespace comity::shm {
namespace {

// Longest slice: large enough that its start costs nothing, small enough that the members share what caches
// hold.
constexpr uint64_t kSliceBytes = 256 * 1024;
// Memory touched per advance(): the caller must get to look at its clock and at aborts.
constexpr uint64_t kWorkBytes = 8 * 1024 * 1024;
constexpr uint64_t kAlign = 64;
// From here on first-level caches, of 8 to 12 ways, are too narrow for one line of each source.
constexpr size_t kManySources = 12;

}  // namespace

void DirectPath::prepare() {
  sources_.reserve(core_.size());
  destinations_.reserve(core_.size());
  block_sources_.resize(core_.size());
  block_destinations_.resize(core_.size());
}

void DirectPath::list_pointers(const std::vector<MappedBuffers>& buffers) {
  sources_.clear();
  destinations_.clear();
  const GroupCall& call = *shape_.call;
  const uint32_t me = core_.me;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    const MappedBuffers& member = buffers[k];
    switch (call.collective) {
      case Collective::kAllReduce:
        sources_.push_back(member.src);
        destinations_.push_back(member.dst);
        break;
      case Collective::kReduce:
        sources_.push_back(member.src);
        if (k == call.root) destinations_.push_back(member.dst);
        break;
      case Collective::kBroadcast:
        if (k == call.root) sources_.push_back(member.src);
        if (k != call.root || !member.in_place) destinations_.push_back(member.dst);
        break;
      case Collective::kAllGather:
        if (k == me) sources_.push_back(member.src);
        if (k != me || !member.in_place) {
          destinations_.push_back(member.dst + block_offset(shape_, member.stride, me));
        }
        break;
      case Collective::kReduceScatter:
        sources_.push_back(member.src + block_offset(shape_, member.stride, me));
        if (k == me) destinations_.push_back(member.dst);
        break;
      default:
        break;
    }
  }
  if (shape_.is_personal()) list_pairs(buffers);
}

// Who gives writes into the root's output in a gather; else who takes reads. Starts with another member on
// each, so that not all are at the same memory at once.
void DirectPath::list_pairs(const std::vector<MappedBuffers>& buffers) {
  const GroupCall& call = *shape_.call;
  const auto block = [&](uint32_t k) { return block_offset(shape_, buffers[k].stride, core_.me); };
  const auto add = [&](const std::byte* from, std::byte* to) {
    sources_.push_back(from);
    destinations_.push_back(to);
  };
  if (call.collective == Collective::kAllToAll) {
    for (uint32_t i = 1; i < core_.size(); ++i) {
      const uint32_t k = (core_.me + i) % core_.size();
      add(buffers[k].src + block(k), call.dst[k].data);
    }
  } else if (!shape_.is_root()) {
    if (call.collective == Collective::kGather)
      add(shape_.src(), buffers[call.root].dst + block(call.root));
    else
      add(buffers[call.root].src + block(call.root), shape_.dst());
  }
  if (shape_.has_src() && shape_.has_dst() && !shape_.in_place()) {
    add(call.src[has_input_blocks(call.collective) ? core_.me : 0].data,
        call.dst[has_output_blocks(call.collective) ? core_.me : 0].data);
  }
}

void DirectPath::deal_slices() {
  const uint64_t sharers = shape_.has_blocks() ? 1 : core_.size();
  const uint64_t place = shape_.has_blocks() ? 0 : core_.me;
  length_ = shape_.has_blocks() ? shape_.block_length(core_.me) : shape_.length;
  slices_left_ = divide_up(length_, sharers * kSliceBytes);
  slice_bytes_ = slices_left_ == 0 ? 0 : round_up(divide_up(length_, slices_left_ * sharers), kAlign);
  slice_step_ = slice_bytes_ * sharers;
  slice_first_ = slice_bytes_ * place;
  tickets_ = core_.members_crowded && !shape_.has_blocks() ? slices_left_ * sharers : 0;
}

void DirectPath::start(const std::vector<MappedBuffers>& buffers, bool stream) {
  list_pointers(buffers);
  deal_slices();
  reduces_ = is_reduction(shape_.call->collective);
  // Never into lines that were just loaded.
  stream_ = stream && !(reduces_ && std::any_of(buffers.begin(), buffers.end(),
                                                [](const MappedBuffers& member) { return member.in_place; }));
  posted_ = false;
}

void DirectPath::work_on(uint64_t begin, uint64_t end) {
  if (shape_.is_personal()) {
    for (size_t i = 0; i < sources_.size(); ++i)
      copy_host(destinations_[i] + begin, sources_[i] + begin, end - begin, stream_);
    return;
  }
  if (!reduces_) return copy(begin, end);
  if (sources_.size() < kManySources) return reduce(begin, end);
  for (uint64_t at = begin; at < end; at += scratch_.size()) {
    reduce_to_scratch(at, std::min(end, at + scratch_.size()));
  }
}

void DirectPath::reduce(uint64_t begin, uint64_t end) {
  const GroupCall& call = *shape_.call;
  for (size_t k = 0; k < sources_.size(); ++k) block_sources_[k] = sources_[k] + begin;
  for (size_t k = 0; k < destinations_.size(); ++k) block_destinations_[k] = destinations_[k] + begin;
  reduce_host(ReduceWork{call.type, call.op, std::span(block_sources_.data(), sources_.size()),
                         std::span(block_destinations_.data(), destinations_.size()),
                         (end - begin) / size_of(call.type), call.divisor, stream_});
}

// Buffers that begin at equal offsets of their pages meet in one set of the cache: with more of them than it
// has ways, what was loaded is gone when it is stored to. So the stores come after the loads of a piece.
void DirectPath::reduce_to_scratch(uint64_t begin, uint64_t end) {
  const GroupCall& call = *shape_.call;
  for (size_t k = 0; k < sources_.size(); ++k) block_sources_[k] = sources_[k] + begin;
  std::byte* result = scratch_.data();
  reduce_host(ReduceWork{call.type, call.op, std::span(block_sources_.data(), sources_.size()),
                         std::span(&result, 1), (end - begin) / size_of(call.type), call.divisor, false});
  for (std::byte* destination : destinations_) copy_host(destination + begin, result, end - begin, stream_);
}

void DirectPath::copy(uint64_t begin, uint64_t end) {
  constexpr uint64_t kPiece = 16 * 1024;  // stays in the first-level cache from one destination to the next
  for (uint64_t at = begin; at < end; at += kPiece) {
    const uint64_t bytes = std::min(kPiece, end - at);
    for (std::byte* destination : destinations_)
      copy_host(destination + at, sources_[0] + at, bytes, stream_);
  }
}

Progress DirectPath::advance_by_tickets() {
  uint64_t worked = 0;
  while (worked < kWorkBytes) {
    const int64_t ticket = core_.take_ticket(tickets_);
    if (ticket < 0) return core_.wait_for([this] { return core_.tickets_finished(tickets_); }, worked != 0);
    const uint64_t begin = std::min(length_, static_cast<uint64_t>(ticket) * slice_bytes_);
    const uint64_t end = std::min(length_, begin + slice_bytes_);
    if (begin != end) work_on(begin, end);
    core_.finish_ticket(tickets_);
    worked += (end - begin) * (sources_.size() + destinations_.size());
  }
  return core_.beat();
}

Progress DirectPath::advance() {
  if (tickets_ != 0) return advance_by_tickets();
  uint64_t worked = 0;
  while (slices_left_ != 0) {
    if (worked >= kWorkBytes) return core_.beat();
    --slices_left_;
    const uint64_t begin = std::min(length_, slice_first_ + slices_left_ * slice_step_);
    const uint64_t end = std::min(length_, begin + slice_bytes_);
    if (begin == end) continue;
    work_on(begin, end);
    worked += (end - begin) * (sources_.size() + destinations_.size());
  }
  if (!posted_) {
    core_.post(1);
    posted_ = true;
  }
  return core_.wait_for([this] { return core_.all_did(1); }, worked != 0);
}

}  // namespace comity::shm
