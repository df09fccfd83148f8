#include "transports/shm/cross.h"

#include <fmt/core.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "src/base/arithmetic.h"
#include "src/base/log.h"
#include "src/device/host/kernels.h"
#include "transports/shm/doorbell.h"

namespace comity::shm {
namespace {

constexpr uint64_t kAlign = 64;
// Of one call to the kernel: its fixed cost is a tenth of the copy, and the piece stays in the second-level
// cache.
constexpr uint64_t kPieceBytes = 256 * 1024;
constexpr uint64_t kScratchBytes = 1024 * 1024;  // of all members' pieces together
// Copied per advance(); see DirectPath.
constexpr uint64_t kWorkBytes = 4 * 1024 * 1024;

// Runs one of the kernel's two calls until all is copied.
template <typename Call>
bool copy_all(Call call, uint32_t pid, std::byte* local, std::byte* remote, uint64_t bytes) {
  while (bytes != 0) {
    const iovec here{local, bytes};
    const iovec there{remote, bytes};
    const ssize_t moved = call(static_cast<pid_t>(pid), &here, 1, &there, 1, 0);
    if (moved <= 0) {
      if (moved == 0) errno = EFAULT;
      return false;
    }
    local += moved;
    remote += moved;
    bytes -= static_cast<uint64_t>(moved);
  }
  return true;
}

}  // namespace

bool read_process(uint32_t pid, void* to, const void* from, uint64_t bytes) {
  return copy_all(process_vm_readv, pid, static_cast<std::byte*>(to),
                  const_cast<std::byte*>(static_cast<const std::byte*>(from)), bytes);
}

bool write_process(uint32_t pid, void* to, const void* from, uint64_t bytes) {
  return copy_all(process_vm_writev, pid, const_cast<std::byte*>(static_cast<const std::byte*>(from)),
                  static_cast<std::byte*>(to), bytes);
}

void CrossPath::prepare() {
  const uint64_t p = core_.size();
  piece_bytes_ = std::clamp<uint64_t>(kScratchBytes / p / 4096 * 4096, 16 * 1024, kPieceBytes);
  static_assert(kPieceBytes <= kStagingBytes,
                "what is asked of a member fits into the asker's staging memory");
  sources_.resize(p);
  destinations_.resize(p);
  refused_.assign(p, 0);
  heard_.assign(p, 0);
}

void CrossPath::start(const std::vector<CrossBuffers>& buffers) {
  if (scratch_ == nullptr) scratch_.reset(new (std::nothrow) std::byte[piece_bytes_ * (core_.size() + 1)]);
  buffers_ = &buffers;
  posted_ = folded_ = false;
  next_ = 0;
  at_ = 0;
  const Collective collective = shape_.call->collective;
  if (collective == Collective::kAllReduce || collective == Collective::kReduce) {
    const uint64_t slice = round_up((shape_.length + core_.size() - 1) / core_.size(), kAlign);
    at_ = std::min(shape_.length, slice * core_.me);
    end_ = std::min(shape_.length, slice * (core_.me + 1));
  } else if (collective == Collective::kReduceScatter) {
    end_ = shape_.block_length(core_.me);
  } else {
    end_ = collective == Collective::kBroadcast ? shape_.length : shape_.longest_block;
  }
}

// --- copies

CrossPath::Step CrossPath::read(uint32_t k, std::byte* to, uint64_t offset, uint64_t bytes) {
  const CrossBuffers& member = (*buffers_)[k];
  if (!member.src_remote) {
    copy_host(to, member.at.src + offset, bytes, false);
    return Step::kDone;
  }
  if (refused_[k] == 0) {
    if (read_process(core_.members[k].peer->address.pid, to, member.at.src + offset, bytes))
      return Step::kDone;
    if (!refused(k, "process_vm_readv", bytes)) return Step::kFailed;
  }
  if (!assisted({k, offset, bytes, false})) return Step::kWaits;
  copy_host(to, core_.own().buffers->staging, bytes, false);
  return Step::kDone;
}

CrossPath::Step CrossPath::write(uint32_t k, const std::byte* from, uint64_t offset, uint64_t bytes) {
  if (!(*buffers_)[k].dst_remote) {
    copy_host((*buffers_)[k].at.dst + offset, from, bytes, false);
    return Step::kDone;
  }
  if (refused_[k] == 0) {
    if (write_process(core_.members[k].peer->address.pid, (*buffers_)[k].at.dst + offset, from, bytes))
      return Step::kDone;
    if (!refused(k, "process_vm_writev", bytes)) return Step::kFailed;
  }
  if (!asking_) copy_host(core_.own().buffers->staging, from, bytes, false);
  return assisted({k, offset, bytes, true}) ? Step::kDone : Step::kWaits;
}

// A process that died refuses too; the control plane sees that, and ends the call.
bool CrossPath::refused(uint32_t k, const char* call, uint64_t bytes) {
  const int error = errno;
  Peer& peer = *core_.members[k].peer;
  if (error != EPERM && error != ESRCH) {
    failure_ = fmt::format("{} of {} bytes with rank {} (pid {}): {}", call, bytes, core_.members[k].rank,
                           peer.address.pid, std::strerror(error));
    return false;
  }
  COMITY_LOG_INFO(
      "shm: rank {} may no longer use cross-memory attach on rank {} ({}): copies go by staging memory",
      core_.own().rank, core_.members[k].rank, std::strerror(error));
  refused_[k] = 1;
  peer.cross_memory = core_.cross_memory = false;
  return true;
}

// --- help

// Asks, or looks whether what was asked is done.
bool CrossPath::assisted(const Assistance& wanted) {
  Assist& assist = core_.own().lines->assist;
  const uint64_t count = assist.asked.load(std::memory_order_relaxed) >> kMemberBits;
  if (!asking_) {
    asking_ = true;
    assist.offset = wanted.offset;
    assist.bytes = wanted.bytes;
    assist.writes = wanted.writes;
    assist.asked.store((count + 1) << kMemberBits | wanted.member, std::memory_order_release);
    full_fence();
    shm::ring(*core_.members[wanted.member].doorbell);
    return false;
  }
  asking_ = assist.answered.load(std::memory_order_acquire) != count;
  return !asking_;
}

bool CrossPath::serve(bool& served) {
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k == core_.me) continue;
    Assist& assist = core_.members[k].lines->assist;
    const uint64_t asked = assist.asked.load(std::memory_order_acquire);
    if (asked == heard_[k]) continue;
    heard_[k] = asked;
    if ((asked & ((uint64_t{1} << kMemberBits) - 1)) != core_.me) continue;
    if (!serve(assist, core_.members[k].buffers->staging)) return false;
    assist.answered.store(asked >> kMemberBits, std::memory_order_release);
    full_fence();
    shm::ring(*core_.members[k].doorbell);
    served = true;
  }
  return true;
}

bool CrossPath::serve(Assist& assist, std::byte* staging) {
  const uint64_t offset = assist.offset, bytes = assist.bytes;
  const bool writes = assist.writes;
  const MappedBuffers& own = (*buffers_)[core_.me].at;
  const Extents extents = shape_.extents(core_.me, own.stride);
  const uint64_t room = writes ? extents.dst : extents.src;
  if (bytes > kPieceBytes || bytes > room || offset > room - bytes) {
    failure_ = fmt::format("a member asked for {} bytes at {} of a buffer of {}", bytes, offset, room);
    return false;
  }
  if (writes)
    copy_host(own.dst + offset, staging, bytes, false);
  else
    copy_host(staging, own.src + offset, bytes, false);
  return true;
}

// --- pieces

bool CrossPath::wants_result(uint32_t k) const {
  const GroupCall& call = *shape_.call;
  if (call.collective == Collective::kReduceScatter) return k == core_.me;
  return call.collective == Collective::kAllReduce || k == call.root;
}

CrossPath::Step CrossPath::reduce_piece(uint64_t begin, uint64_t end) {
  const bool scatter = shape_.call->collective == Collective::kReduceScatter;
  const uint64_t bytes = end - begin;
  for (; !folded_ && next_ < core_.size(); ++next_) {
    const CrossBuffers& member = (*buffers_)[next_];
    const uint64_t offset = begin + (scatter ? block_offset(shape_, member.at.stride, core_.me) : 0);
    sources_[next_] = member.at.src + offset;
    if (!member.src_remote) continue;
    std::byte* to = scratch_.get() + next_ * piece_bytes_;
    sources_[next_] = to;
    if (const Step step = read(next_, to, offset, bytes); step != Step::kDone) return step;
  }
  if (!folded_) fold(begin, bytes);
  for (; next_ < core_.size(); ++next_) {
    if (!wants_result(next_) || !(*buffers_)[next_].dst_remote) continue;
    if (const Step step = write(next_, outgoing_, begin, bytes); step != Step::kDone) return step;
  }
  return Step::kDone;
}

void CrossPath::fold(uint64_t begin, uint64_t bytes) {
  const GroupCall& call = *shape_.call;
  size_t local = 0;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (wants_result(k) && !(*buffers_)[k].dst_remote) destinations_[local++] = (*buffers_)[k].at.dst + begin;
  }
  // What goes out is taken from a local output if there is one, which the caches now hold.
  if (local == 0) destinations_[local++] = scratch_.get() + core_.size() * piece_bytes_;
  outgoing_ = destinations_[0];
  reduce_host(ReduceWork{call.type, call.op, sources_, std::span(destinations_.data(), local),
                         bytes / size_of(call.type), call.divisor, false});
  folded_ = true;
  next_ = 0;
}

CrossPath::Step CrossPath::gather_piece(uint64_t begin, uint64_t end) {
  const GroupCall& call = *shape_.call;
  const CrossBuffers& own = (*buffers_)[core_.me];
  if (call.collective == Collective::kBroadcast) {
    if (core_.me == call.root && own.at.in_place) return Step::kDone;
    return read(call.root, own.at.dst + begin, begin, end - begin);
  }
  if (call.collective == Collective::kGather || call.collective == Collective::kScatter) {
    return rooted_piece(begin, end);
  }
  const bool personal = call.collective == Collective::kAllToAll;
  for (; next_ < core_.size(); ++next_) {
    const uint32_t k = (core_.me + next_) % core_.size();  // not all from the same member at once
    if (k == core_.me && own.at.in_place) continue;
    const uint64_t stop = std::min(end, shape_.block_length(k));
    if (begin >= stop) continue;
    const uint64_t block = personal ? block_offset(shape_, (*buffers_)[k].at.stride, core_.me) : 0;
    const Step step = read(k, call.dst[k].data + begin, block + begin, stop - begin);
    if (step != Step::kDone) return step;
  }
  return Step::kDone;
}

// Givers write into the root's output, takers read from its input.
CrossPath::Step CrossPath::rooted_piece(uint64_t begin, uint64_t end) {
  const GroupCall& call = *shape_.call;
  const uint32_t me = core_.me;
  const bool gathers = call.collective == Collective::kGather;
  if (shape_.is_root()) {
    const Piece& from = call.src[gathers ? 0 : me];
    const Piece& to = call.dst[gathers ? me : 0];
    if (from.data != to.data) copy_host(to.data + begin, from.data + begin, end - begin, false);
    return Step::kDone;
  }
  const CrossBuffers& root = (*buffers_)[call.root];
  const uint64_t offset = block_offset(shape_, root.at.stride, me) + begin;
  if (!gathers) return read(call.root, shape_.dst() + begin, offset, end - begin);
  return write(call.root, shape_.src() + begin, offset, end - begin);
}

CrossPath::Step CrossPath::do_piece(uint64_t begin, uint64_t end) {
  const Step step =
      is_reduction(shape_.call->collective) ? reduce_piece(begin, end) : gather_piece(begin, end);
  if (step != Step::kDone) return step;
  next_ = 0;
  folded_ = false;
  return step;
}

Progress CrossPath::advance() {
  if (scratch_ == nullptr) {
    failure_ = "no memory for scratch";
    return Progress::kFailed;
  }
  uint64_t worked = 0;
  bool served = false;
  if (!serve(served)) return Progress::kFailed;
  for (; at_ < end_; worked += piece_bytes_ * core_.size()) {
    if (worked >= kWorkBytes) return core_.beat();
    const uint64_t next = std::min(end_, at_ + piece_bytes_);
    const Step step = do_piece(at_, next);
    if (step == Step::kFailed) return Progress::kFailed;
    if (step == Step::kWaits) return served || worked != 0 ? Progress::kAdvanced : Progress::kBusy;
    at_ = next;
  }
  if (!posted_) {
    core_.post(1);
    posted_ = true;
  }
  return core_.wait_for([this] { return core_.all_did(1); }, served || worked != 0);
}

}  // namespace comity::shm
