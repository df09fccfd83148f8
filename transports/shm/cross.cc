#include "transports/shm/cross.h"

#include <fmt/core.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

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
  scratch_.resize(piece_bytes_ * (p + 1));
  sources_.resize(p);
  destinations_.resize(p);
}

void CrossPath::start(const std::vector<CrossBuffers>& buffers) {
  buffers_ = &buffers;
  posted_ = false;
  at_ = 0;
  const Collective collective = shape_.call->collective;
  if (collective == Collective::kAllReduce || collective == Collective::kReduce) {
    const uint64_t slice = round_up(divide_up(shape_.length, core_.size()), kAlign);
    at_ = std::min(shape_.length, slice * core_.me);
    end_ = std::min(shape_.length, slice * (core_.me + 1));
  } else if (collective == Collective::kReduceScatter) {
    end_ = shape_.block_length(core_.me);
  } else {
    end_ = collective == Collective::kBroadcast ? shape_.length : shape_.longest_block;
  }
}

bool CrossPath::read(uint32_t k, void* to, uint64_t offset, uint64_t bytes) {
  const CrossBuffers& member = (*buffers_)[k];
  if (!member.src_remote) {
    copy_host(to, member.at.src + offset, bytes, false);
    return true;
  }
  if (read_process(core_.members[k].peer->address.pid, to, member.at.src + offset, bytes)) return true;
  failure_ = fmt::format("process_vm_readv of {} bytes from rank {} (pid {}): {}", bytes,
                         core_.members[k].rank, core_.members[k].peer->address.pid, std::strerror(errno));
  return false;
}

bool CrossPath::write(uint32_t k, const void* from, uint64_t offset, uint64_t bytes) {
  if (write_process(core_.members[k].peer->address.pid, (*buffers_)[k].at.dst + offset, from, bytes))
    return true;
  failure_ = fmt::format("process_vm_writev of {} bytes to rank {} (pid {}): {}", bytes,
                         core_.members[k].rank, core_.members[k].peer->address.pid, std::strerror(errno));
  return false;
}

// Member k's input where this process can load it, copied to scratch if need be; null: failed.
const std::byte* CrossPath::fetch(uint32_t k, uint64_t offset, uint64_t bytes) {
  const CrossBuffers& member = (*buffers_)[k];
  if (!member.src_remote) return member.at.src + offset;
  std::byte* to = scratch_.data() + k * piece_bytes_;
  return read(k, to, offset, bytes) ? to : nullptr;
}

bool CrossPath::reduce_piece(uint64_t begin, uint64_t end) {
  const GroupCall& call = *shape_.call;
  const bool scatter = call.collective == Collective::kReduceScatter;
  const uint64_t bytes = end - begin;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    const uint64_t block = scatter ? block_offset(shape_, (*buffers_)[k].at.stride, core_.me) : 0;
    sources_[k] = fetch(k, block + begin, bytes);
    if (sources_[k] == nullptr) return false;
  }
  std::byte* result = scratch_.data() + core_.size() * piece_bytes_;
  const auto wants = [&](uint32_t k) {
    if (scatter) return k == core_.me;
    return call.collective == Collective::kAllReduce || k == call.root;
  };
  size_t local = 0;
  bool remote = false;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (!wants(k)) continue;
    const CrossBuffers& member = (*buffers_)[k];
    remote = remote || member.dst_remote;
    if (!member.dst_remote) destinations_[local++] = member.at.dst + begin;
  }
  // What goes out is taken from a local output if there is one, which the caches now hold.
  const std::byte* outgoing = local != 0 ? destinations_[0] : result;
  if (local == 0) destinations_[local++] = result;
  reduce_host(ReduceWork{call.type, call.op, sources_, std::span(destinations_.data(), local),
                         bytes / size_of(call.type), call.divisor, false});
  for (uint32_t k = 0; remote && k < core_.size(); ++k) {
    if (wants(k) && (*buffers_)[k].dst_remote && !write(k, outgoing, begin, bytes)) return false;
  }
  return true;
}

bool CrossPath::gather_piece(uint64_t begin, uint64_t end) {
  const GroupCall& call = *shape_.call;
  const CrossBuffers& own = (*buffers_)[core_.me];
  if (call.collective == Collective::kBroadcast) {
    if (core_.me == call.root && own.at.in_place) return true;
    return read(call.root, own.at.dst + begin, begin, end - begin);
  }
  for (uint32_t i = 0; i < core_.size(); ++i) {
    const uint32_t k = (core_.me + i) % core_.size();  // not all from the same member at once
    if (k == core_.me && own.at.in_place) continue;
    const uint64_t stop = std::min(end, shape_.block_length(k));
    if (begin >= stop) continue;
    if (!read(k, call.dst[k].data + begin, begin, stop - begin)) return false;
  }
  return true;
}

Progress CrossPath::advance() {
  uint64_t worked = 0;
  for (; at_ < end_; worked += piece_bytes_ * core_.size()) {
    if (worked >= kWorkBytes) return core_.beat();
    const uint64_t next = std::min(end_, at_ + piece_bytes_);
    const bool ok = is_reduction(shape_.call->collective) ? reduce_piece(at_, next) : gather_piece(at_, next);
    if (!ok) return Progress::kFailed;
    at_ = next;
  }
  if (!posted_) {
    core_.post(1);
    posted_ = true;
  }
  return core_.wait_for([this] { return core_.all_did(1); }, worked != 0);
}

}  // namespace comity::shm
