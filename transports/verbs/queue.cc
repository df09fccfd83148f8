#include "transports/verbs/queue.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "src/base/arithmetic.h"
#include "src/base/errno_text.h"
#include "src/base/handshake.h"

namespace comity::verbs {
namespace {

constexpr uint32_t kInlineWanted = 256;
constexpr uint64_t kReceive = uint64_t{1} << 63;  // in wr_id: a receive, and its slot
constexpr uint8_t kReceiverPatience = 12;         // min_rnr_timer; credits keep it from being needed
constexpr uint8_t kReceiverRetries = 6;
constexpr uint8_t kHops = 64;

std::string advice_on(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return ": its process ended, or the path between the two did";
    case IBV_WC_REM_ACCESS_ERR:
      return ": memory there is registered no more (its process ended, or gave it back)";
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return ": it does not take what is sent";
    case IBV_WC_LOC_QP_OP_ERR:
    case IBV_WC_FATAL_ERR:
      return ": is this rank's port down?";
    default:
      return "";
  }
}

}  // namespace

void Queue::Free::operator()(std::byte* memory) const {
  std::free(memory);
}

Queue::Queue(const Rail& rail, const QueueOptions& options)
    : rail_(rail), options_(options), library_(rail.device->library()) {}

Result<std::unique_ptr<Queue>> Queue::make(const Rail& rail, const QueueOptions& options) {
  std::unique_ptr<Queue> made(new Queue(rail, options));
  COMITY_RETURN_IF_ERROR(made->create());
  COMITY_RETURN_IF_ERROR(made->begin());
  return made;
}

Status Queue::create() {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t bytes = round_up(uint64_t{kSends + kReceives} * kSlotBytes, page);
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(page, bytes)));
  if (memory_ == nullptr) return Status(Code::kSystemError, "no memory for the slots of a queue pair");
  std::memset(static_cast<void*>(memory_.get()), 0, bytes);
  COMITY_ASSIGN_OR_RETURN(region_, rail_.device->register_memory(memory_.get(), bytes));
  const auto refused = [this](const char* what) {
    return Status(Code::kSystemError,
                  fmt::format("{} refused a {}: {}", rail_.device->name(), what, errno_text(errno)));
  };
  completions_ = library_.create_cq(rail_.device->context(), static_cast<int>(kWork + kReceives), this,
                                    rail_.device->channel(), 0);
  if (completions_ == nullptr) return refused("completion queue");
  ibv_qp_init_attr attributes{};
  attributes.send_cq = attributes.recv_cq = completions_;
  attributes.qp_type = IBV_QPT_RC;
  attributes.cap.max_send_wr = kWork;
  attributes.cap.max_recv_wr = kReceives;
  attributes.cap.max_send_sge = attributes.cap.max_recv_sge = 1;
  for (const uint32_t inline_bytes : {kInlineWanted, 128u, 64u, 0u}) {
    attributes.cap.max_inline_data = inline_bytes;
    pair_ = library_.create_qp(rail_.device->domain(), &attributes);
    if (pair_ != nullptr) break;
  }
  if (pair_ == nullptr) return refused("queue pair");
  inline_bytes_ = attributes.cap.max_inline_data;
  card_ = {pair_->qp_num, static_cast<uint32_t>(random_u64() & 0xffffff)};
  return {};
}

Status Queue::begin() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = rail_.port;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  const int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  if (const int error = library_.modify_qp(pair_, &attributes, mask); error != 0) {
    return Status(Code::kSystemError,
                  fmt::format("{} cannot begin a queue pair: {}", rail_.device->name(), errno_text(error)));
  }
  for (uint32_t slot = 0; slot < kReceives; ++slot) repost(slot);
  if (error_ == 0) return {};
  return Status(Code::kSystemError,
                fmt::format("{} takes no receives: {}", rail_.device->name(), errno_text(error_)));
}

// First to where it receives, then to where it sends.
Status Queue::connect(const QueueCard& peer, const RailAddress& peer_rail) {
  const bool roce = rail_.address.layer == LinkLayer::kRoce;
  const bool routed =
      roce || rail_.always_routed || std::memcmp(rail_.address.gid.data(), peer_rail.gid.data(), 8) != 0;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  const uint8_t mtu = std::min(rail_.address.mtu, peer_rail.mtu);
  attributes.path_mtu = static_cast<ibv_mtu>(options_.mtu == 0 ? mtu : std::min(mtu, options_.mtu));
  attributes.dest_qp_num = peer.number;
  attributes.rq_psn = peer.sequence;
  attributes.max_dest_rd_atomic = 1;
  attributes.min_rnr_timer = kReceiverPatience;
  attributes.ah_attr.port_num = rail_.port;
  attributes.ah_attr.sl = options_.service_level;
  attributes.ah_attr.dlid = peer_rail.lid;
  attributes.ah_attr.is_global = routed ? 1 : 0;
  if (routed) {
    std::memcpy(attributes.ah_attr.grh.dgid.raw, peer_rail.gid.data(), peer_rail.gid.size());
    attributes.ah_attr.grh.sgid_index = rail_.gid_index;
    attributes.ah_attr.grh.hop_limit = kHops;
    attributes.ah_attr.grh.traffic_class = options_.traffic_class;
    // Queue pairs of one rail take different ways where switches tell flows apart.
    attributes.ah_attr.grh.flow_label = static_cast<uint32_t>(random_u64() & 0xfffff);
  }
  const auto failed = [this](const char* what, int error) {
    return Status(Code::kSystemError,
                  fmt::format("{} cannot {}: {}", rail_.describe(), what, errno_text(error)));
  };
  int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
             IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  if (const int error = library_.modify_qp(pair_, &attributes, mask); error != 0)
    return failed("reach the peer's port", error);
  attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.sq_psn = card_.sequence;
  attributes.timeout = options_.timeout;
  attributes.retry_cnt = options_.retries;
  attributes.rnr_retry = kReceiverRetries;
  attributes.max_rd_atomic = 1;
  mask = IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
         IBV_QP_MAX_QP_RD_ATOMIC;
  if (const int error = library_.modify_qp(pair_, &attributes, mask); error != 0)
    return failed("send to the peer's port", error);
  return {};
}

void Queue::stop() {
  if (std::exchange(stopped_, true) || pair_ == nullptr) return;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  library_.modify_qp(pair_, &attributes, IBV_QP_STATE);
}

Queue::~Queue() {
  stop();
  if (pair_ != nullptr) library_.destroy_qp(pair_);
  if (completions_ != nullptr) library_.destroy_cq(completions_);
  if (region_ != nullptr) library_.dereg_mr(region_);
}

// --- posting -----------------------------------------------------------------------------------------------

int Queue::flags(bool always) {
  if (!always && ++unsignalled_ < kSignalEvery) return 0;
  unsignalled_ = 0;
  return IBV_SEND_SIGNALED;
}

bool Queue::post(ibv_send_wr& first) {
  ibv_send_wr* refused = nullptr;
  const int error = ibv_post_send(pair_, &first, &refused);
  if (error != 0) error_ = error;
  return error == 0;
}

bool Queue::send_inline(const std::byte* data, uint32_t bytes) {
  ibv_sge piece{reinterpret_cast<uint64_t>(data), bytes, 0};
  ibv_send_wr request{};
  request.wr_id = ++issued_;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags = static_cast<unsigned>(IBV_SEND_INLINE | flags(false));
  return post(request);
}

bool Queue::send_slot(uint32_t bytes) {
  ibv_sge piece{reinterpret_cast<uint64_t>(slot()), bytes, region_->lkey};
  ibv_send_wr request{};
  request.wr_id = ++issued_;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags = static_cast<unsigned>(flags(false));
  work_of_slot_[slots_used_ % kSends] = issued_;
  ++slots_used_;
  return post(request);
}

bool Queue::put(const std::byte* data, uint32_t local_key, uint32_t bytes, uint64_t address, uint32_t key,
                std::span<const std::byte> header) {
  const auto header_bytes = static_cast<uint32_t>(header.size());
  ibv_sge payload{reinterpret_cast<uint64_t>(data), bytes, local_key};
  ibv_sge behind{reinterpret_cast<uint64_t>(header.data()), header_bytes, 0};
  const bool inlined = is_inline(header.size());
  if (!inlined) {
    std::memcpy(slot(), header.data(), header.size());
    behind = {reinterpret_cast<uint64_t>(slot()), header_bytes, region_->lkey};
  }
  ibv_send_wr write{}, send{};
  write.wr_id = ++issued_;
  write.next = &send;
  write.sg_list = &payload;
  write.num_sge = 1;
  write.opcode = IBV_WR_RDMA_WRITE;
  write.wr.rdma.remote_addr = address;
  write.wr.rdma.rkey = key;
  send.wr_id = ++issued_;
  send.sg_list = &behind;
  send.num_sge = 1;
  send.opcode = IBV_WR_SEND;
  send.send_flags = static_cast<unsigned>(flags(true) | (inlined ? IBV_SEND_INLINE : 0));
  if (!inlined) work_of_slot_[slots_used_++ % kSends] = issued_;
  return post(write);
}

bool Queue::probe() {
  ibv_send_wr request{};
  request.wr_id = ++issued_;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.send_flags = static_cast<unsigned>(flags(true));
  return post(request);
}

void Queue::repost(uint32_t slot) {
  ibv_sge piece{reinterpret_cast<uint64_t>(slot_at(kSends + slot)), kSlotBytes, region_->lkey};
  ibv_recv_wr request{};
  request.wr_id = kReceive | slot;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* refused = nullptr;
  if (const int error = ibv_post_recv(pair_, &request, &refused); error != 0) error_ = error;
}

// --- completions -------------------------------------------------------------------------------------------

void Queue::request_notice() {
  ibv_req_notify_cq(completions_, 0);
}

bool Queue::take_batch() {
  batch_next_ = 0;
  batch_size_ = ibv_poll_cq(completions_, kBatch, batch_.data());
  if (batch_size_ < 0) error_ = EIO;
  return batch_size_ > 0;
}

bool Queue::poll(Completion& completion) {
  if (batch_next_ >= batch_size_ && !take_batch()) return false;
  const ibv_wc& wc = batch_[static_cast<size_t>(batch_next_++)];
  completion = Completion();
  if (wc.status != IBV_WC_SUCCESS) {  // of the rest nothing is said then
    completion.error = fmt::format("{} (vendor {:#x}){}", library_.wc_status_str(wc.status), wc.vendor_err,
                                   advice_on(wc.status));
    return true;
  }
  completion.is_receive = (wc.wr_id & kReceive) != 0;
  if (completion.is_receive) {
    completion.slot = static_cast<uint32_t>(wc.wr_id & ~kReceive);
    completion.data = slot_at(kSends + completion.slot);
    completion.bytes = wc.byte_len;
    return true;
  }
  over_ = std::max(over_, wc.wr_id);
  while (slots_over_ < slots_used_ && work_of_slot_[slots_over_ % kSends] <= over_) ++slots_over_;
  return true;
}

}  // namespace comity::verbs
