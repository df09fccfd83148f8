// Calls whose contributions lie packed where every member reads them: in the hellos' lines or in eager slots.
#include "src/device/host/kernels.h"
#include "transports/shm/group.h"

namespace comity::shm {

// Copies this member's contribution, pieces one after the other, to where peers read it.
void ShmGroup::pack(std::byte* to) const {
  if (shape_.own_contribution == 0) return;
  if (call_->src.size() == 1) {
    copy_host(to, shape_.src(), shape_.own_contribution, false);
    return;
  }
  for (uint32_t j = 0; j < core_.size(); ++j) {
    copy_host(to + shape_.begins[j], call_->src[j].data, shape_.block_length(j), false);
  }
}

void ShmGroup::finish_packed() {
  if (!shape_.has_dst()) return;
  const uint32_t me = core_.me;
  switch (call_->collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
      parts_[me] = shape_.src();
      break;
    case Collective::kReduceScatter:
      for (uint32_t k = 0; k < core_.size(); ++k) parts_[k] += shape_.begins[me];
      parts_[me] = call_->src[me].data;
      break;
    case Collective::kBroadcast:
      if (shape_.is_root()) parts_[me] = shape_.src();
      if (shape_.dst() != parts_[call_->root])
        copy_host(shape_.dst(), parts_[call_->root], shape_.length, false);
      return;
    case Collective::kAllGather:
      parts_[me] = shape_.src();
      for (uint32_t k = 0; k < core_.size(); ++k) {
        if (call_->dst[k].data != parts_[k])
          copy_host(call_->dst[k].data, parts_[k], shape_.block_length(k), false);
      }
      return;
    case Collective::kAllToAll:
    case Collective::kGather:
    case Collective::kScatter:
      return finish_personal();
    default:
      return;
  }
  const uint64_t bytes = call_->dst[0].bytes;
  if (bytes == 0) return;
  std::byte* destination = shape_.dst();
  reduce_host(ReduceWork{call_->type, call_->op, parts_, std::span(&destination, 1),
                         bytes / size_of(call_->type), call_->divisor, false});
}

void ShmGroup::finish_personal() {
  const bool in_blocks = has_input_blocks(call_->collective);
  if (call_->collective == Collective::kScatter) {
    if (!shape_.is_root())
      copy_host(shape_.dst(), parts_[call_->root] + shape_.begins[core_.me], shape_.longest_block, false);
    else
      shape_.keep_own_block();
    return;
  }
  shape_.keep_own_block();
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k == core_.me) continue;
    copy_host(call_->dst[k].data, parts_[k] + (in_blocks ? shape_.begins[core_.me] : 0), shape_.longest_block,
              false);
  }
}

}  // namespace comity::shm
