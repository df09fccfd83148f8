#include "transports/ucx/ucx_endpoint.h"

#include <fmt/core.h>
#include <sched.h>
#include <sodium.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace comity::ucx {
namespace {

constexpr uint32_t kSegmentBytes = 1024 * 1024;
constexpr uint64_t kStopMs = 500;   // for UCX to let go of memory
constexpr uint64_t kGentlyMs = 20;  // of that, for what is under way to end by itself
constexpr unsigned kAmId = 0;

}  // namespace

UcxEndpoint::UcxEndpoint(const Worker& worker, EndpointConfig config)
    : worker_(worker), config_(std::move(config)) {
  traits_.segment_bytes = kSegmentBytes;
  traits_.latency_ns = config_.figures.latency_ns;
  traits_.bandwidth_bytes_per_s = config_.figures.bandwidth_bytes_per_s;
  traits_.in_order = false;  // what is short passes what is fetched
}

bool UcxEndpoint::is_token(const Token& token) const {
  return sodium_memcmp(token.data(), config_.incoming.data(), token.size()) == 0;
}

std::string UcxEndpoint::describe() const {
  return fmt::format("ucx rank {} -> rank {}", config_.rank, config_.peer);
}

void UcxEndpoint::connect() {
  if (ep_ != nullptr || !status_.ok()) return;
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(config_.worker_address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {on_failed, this};
  const ucs_status_t made = worker_.library->ep_create(worker_.worker, &params, &ep_);
  if (made == UCS_OK) return;
  ep_ = nullptr;
  fail(Code::kSystemError,
       fmt::format("UCX cannot connect: {}; UCX_LOG_LEVEL=info says more, and UCX_TLS and "
                   "UCX_NET_DEVICES choose what it uses",
                   worker_.library->text(made)));
}

void UcxEndpoint::on_failed(void* arg, ucp_ep_h, ucs_status_t status) {
  auto& endpoint = *static_cast<UcxEndpoint*>(arg);
  endpoint.fail(Code::kRemoteError,
                fmt::format("UCX lost the connection: {} (its process ended, or the network "
                            "between the two did)",
                            endpoint.worker_.library->text(status)));
}

// What came whole before is delivered first.
void UcxEndpoint::lose(const std::string& cause) {
  if (lost_.empty()) lost_ = cause;
}

void UcxEndpoint::fail(Code code, const std::string& cause) {
  if (!status_.ok()) return;
  status_ = Status(code, fmt::format("rank {} ({}): {}", config_.peer, describe(), cause));
}

// --- sending -----------------------------------------------------------------------------------------------

bool UcxEndpoint::try_send(const SegmentHeader& header, SourceMemory payload) {
  assert(header.length <= traits_.segment_bytes && "a segment is longer than the endpoint's segment_bytes");
  if (!status_.ok() || !lost_.empty() || farewell_ || accepted_ - transmitted_ == kSlots) return false;
  return send(WireHeader{header, config_.rank, 0, config_.outgoing}, payload);
}

bool UcxEndpoint::send(const WireHeader& header, SourceMemory payload) {
  Slot& slot = slots_[accepted_ % kSlots];
  slot.endpoint = this;
  slot.header = header;
  slot.done = false;
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.cb.send = on_sent;
  params.user_data = &slot;
  if (payload.registration != nullptr) {
    params.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    params.memh = static_cast<const UcxRegistration*>(payload.registration)->memory();
  }
  const size_t length = header.segment.length;
  void* const request = worker_.library->am_send_nbx(ep_, kAmId, &slot.header, sizeof(slot.header),
                                                     length == 0 ? nullptr : payload.data, length, &params);
  if (UCS_PTR_IS_ERR(request)) {
    fail(Code::kRemoteError,
         fmt::format("UCX cannot send: {}", worker_.library->text(UCS_PTR_STATUS(request))));
    return false;
  }
  ++accepted_;
  slot.request = request;
  if (request == nullptr) finish(slot, UCS_OK);
  return true;
}

void UcxEndpoint::on_sent(void* request, ucs_status_t status, void* user_data) {
  auto& slot = *static_cast<Slot*>(user_data);
  slot.request = nullptr;
  slot.endpoint->worker_.library->request_free(request);
  slot.endpoint->finish(slot, status);
}

void UcxEndpoint::finish(Slot& slot, ucs_status_t status) {
  slot.done = true;
  if (status != UCS_OK && !ended()) {
    fail(Code::kRemoteError,
         fmt::format("UCX lost what was sent: {} (its process ended, or the network between the two did)",
                     worker_.library->text(status)));
  }
  while (transmitted_ < accepted_ && slots_[transmitted_ % kSlots].done) ++transmitted_;
}

void UcxEndpoint::say_farewell() {
  if (farewell_ || !status_.ok() || ep_ == nullptr || accepted_ - transmitted_ == kSlots) return;
  farewell_ = true;
  WireHeader header;
  header.segment.kind = kFarewell;
  header.segment.number = accepted_;
  header.from = config_.rank;
  header.token = config_.outgoing;
  send(header, SourceMemory());
}

// --- receiving ---------------------------------------------------------------------------------------------

ucs_status_t UcxEndpoint::came(const WireHeader& header, void* data, size_t length, uint64_t attributes) {
  const SegmentHeader& segment = header.segment;
  if (!status_.ok()) return UCS_OK;
  if (segment.kind == kFarewell) {
    last_ = segment.number;
    return UCS_OK;
  }
  ++came_;
  if (segment.length != length || length > traits_.segment_bytes) {
    fail(Code::kRemoteError, "it sent a segment whose length is not what its header says");
    return UCS_OK;
  }
  const bool promised = (attributes & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  const bool holds = promised || (attributes & UCP_AM_RECV_ATTR_FLAG_DATA) != 0;
  const auto* bytes = static_cast<const std::byte*>(data);
  if (!promised && sink_ != nullptr && inbox_.empty()) {
    deliver(*sink_, segment, length == 0 ? nullptr : bytes);
    return UCS_OK;
  }
  Arrival& arrival = inbox_.emplace_back();
  arrival.endpoint = this;
  arrival.header = segment;
  if (holds && length > 0) {
    arrival.kind = promised ? Arrival::Kind::kPromised : Arrival::Kind::kHeld;
    arrival.data = data;
    return UCS_INPROGRESS;
  }
  arrival.copy.assign(bytes, bytes + length);
  return UCS_OK;
}

bool UcxEndpoint::deliver(SegmentSink& sink, const SegmentHeader& header, const std::byte* payload) {
  if (sink.arrived(header, payload)) return true;
  fail(Code::kRemoteError, "it sent a segment that cannot be");
  return false;
}

bool UcxEndpoint::progress(SegmentSink& sink) {
  if (!status_.ok()) return false;
  bool moved = !inbox_.empty() && drain(sink);
  sink_ = &sink;
  moved |= worker_.library->worker_progress(worker_.worker) != 0;
  sink_ = nullptr;
  if (!inbox_.empty()) moved |= drain(sink);
  if (!lost_.empty() &&
      std::none_of(inbox_.begin(), inbox_.end(), [](const Arrival& each) { return each.is_here(); }))
    fail(Code::kRemoteError, lost_);
  if (ended() && inbox_.empty())
    fail(Code::kRemoteError, "it closed the connection (its process ended, or left the communicator first)");
  return moved;
}

bool UcxEndpoint::drain(SegmentSink& sink) {
  bool moved = false;
  for (auto each = inbox_.begin(); status_.ok() && each != inbox_.end();)
    each = drain_one(sink, *each, moved) ? inbox_.erase(each) : std::next(each);
  return moved;
}

// True once it is done with.
bool UcxEndpoint::drain_one(SegmentSink& sink, Arrival& arrival, bool& moved) {
  switch (arrival.kind) {
    case Arrival::Kind::kPromised:
      if (!fetch(sink, arrival)) return false;
      moved = true;
      if (arrival.kind == Arrival::Kind::kFetching) return false;
      break;
    case Arrival::Kind::kFetching:
      return false;
    default:
      break;
  }
  moved = true;
  if (arrival.kind == Arrival::Kind::kLost) return true;  // fail() was called
  const std::byte* payload = arrival.kind == Arrival::Kind::kFetched ? arrival.place
                             : arrival.kind == Arrival::Kind::kHeld
                                 ? static_cast<const std::byte*>(arrival.data)
                                 : arrival.copy.data();
  deliver(sink, arrival.header, arrival.header.length == 0 ? nullptr : payload);
  if (arrival.kind == Arrival::Kind::kHeld) worker_.library->am_data_release(worker_.worker, arrival.data);
  return true;
}

// False: there is no place yet.
bool UcxEndpoint::fetch(SegmentSink& sink, Arrival& arrival) {
  const Claim claim = sink.claim(arrival.header);
  if (!claim.acceptable) {
    fail(Code::kRemoteError, "it sent a segment that cannot be");
    return false;
  }
  if (claim.memory.data == nullptr) return false;
  arrival.place = claim.memory.data;
  arrival.kind = Arrival::Kind::kFetching;
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.cb.recv_am = on_fetched;
  params.user_data = &arrival;
  if (claim.memory.registration != nullptr) {
    params.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    params.memh = static_cast<const UcxRegistration*>(claim.memory.registration)->memory();
  }
  void* const request = worker_.library->am_recv_data_nbx(
      worker_.worker, std::exchange(arrival.data, nullptr), arrival.place, arrival.header.length, &params);
  if (UCS_PTR_IS_ERR(request)) {
    arrival.kind = Arrival::Kind::kLost;
    fail(Code::kRemoteError,
         fmt::format("UCX cannot fetch: {}", worker_.library->text(UCS_PTR_STATUS(request))));
  } else if (request == nullptr) {
    arrival.kind = Arrival::Kind::kFetched;
  } else {
    arrival.request = request;
  }
  return true;
}

void UcxEndpoint::on_fetched(void* request, ucs_status_t status, size_t length, void* user_data) {
  auto& arrival = *static_cast<Arrival*>(user_data);
  UcxEndpoint& endpoint = *arrival.endpoint;
  endpoint.worker_.library->request_free(request);
  arrival.request = nullptr;
  arrival.kind = Arrival::Kind::kFetched;
  ++endpoint.fetched_;
  if (status == UCS_OK && length == arrival.header.length) return;
  arrival.kind = Arrival::Kind::kLost;
  endpoint.fail(
      Code::kRemoteError,
      fmt::format("UCX lost what was coming: {} (its process ended, or the network between the two did)",
                  endpoint.worker_.library->text(status)));
}

bool UcxEndpoint::look_at_silence(uint64_t now_ns, bool may_tell) {
  if (!status_.ok() || ep_ == nullptr) return false;
  const auto missing = [this](uint64_t sent) {
    if (came_ < sent) return Silence::Missing::kWhole;
    const bool fetches = std::any_of(inbox_.begin(), inbox_.end(), [](const Arrival& each) {
      return each.kind == Arrival::Kind::kFetching;
    });
    return fetches ? Silence::Missing::kPart : Silence::Missing::kNothing;
  };
  const Silence::Next next = silence_.look(now_ns, account(), came_ + fetched_, missing, may_tell);
  if (next == Silence::Next::kGiveUp) {
    fail(
        Code::kRemoteError,
        fmt::format("UCX has brought nothing for 20 s or more, though rank {} says that it sent: packets are "
                    "lost between the two",
                    config_.peer));
  }
  return next == Silence::Next::kTell;
}

// --- letting go --------------------------------------------------------------------------------------------

bool UcxEndpoint::uses_memory_of(uint32_t communicator) const {
  const auto sends = [&](const Slot& slot) {
    return slot.request != nullptr && slot.header.segment.length > 0 &&
           slot.header.segment.communicator == communicator;
  };
  const auto fetches = [&](const Arrival& arrival) {
    return arrival.kind == Arrival::Kind::kFetching && arrival.header.communicator == communicator;
  };
  return std::any_of(slots_.begin(), slots_.end(), sends) ||
         std::any_of(inbox_.begin(), inbox_.end(), fetches);
}

// UCX cannot be told to forget one transfer: either it ends by itself, or the connection goes.
void UcxEndpoint::let_go(uint32_t communicator) {
  const auto stops_within = [&](uint64_t ms) {
    const Deadline deadline = Deadline::after_ms(ms);
    while (uses_memory_of(communicator) && !deadline.passed()) {
      if (worker_.library->worker_progress(worker_.worker) == 0) ::sched_yield();
    }
    return !uses_memory_of(communicator);
  };
  const auto is_promised = [&](Arrival& arrival) {
    if (arrival.kind != Arrival::Kind::kPromised || arrival.header.communicator != communicator) return false;
    forget(arrival);
    return true;
  };
  const bool stopped = !uses_memory_of(communicator) || stops_within(kGentlyMs);
  inbox_.remove_if(is_promised);
  inbox_.remove_if([communicator](const Arrival& arrival) {  // it lies where nobody may look any more
    return arrival.kind == Arrival::Kind::kFetched && arrival.header.communicator == communicator;
  });
  if (stopped) return;
  fail(Code::kRemoteError,
       "the connection was given up in the middle of a message, as its memory was taken back");
  close();
}

void UcxEndpoint::forget(Arrival& arrival) {
  if (arrival.data != nullptr)
    worker_.library->am_data_release(worker_.worker, std::exchange(arrival.data, nullptr));
}

void UcxEndpoint::begin_close() {
  if (ep_ == nullptr) return;
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  params.flags = UCP_EP_CLOSE_FLAG_FORCE;
  closing_ = worker_.library->ep_close_nbx(std::exchange(ep_, nullptr), &params);
}

// Once it is, UCX uses nothing of the engine's any more.
bool UcxEndpoint::is_closed() const {
  const bool sends =
      std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.request != nullptr; });
  const bool fetches = std::any_of(inbox_.begin(), inbox_.end(),
                                   [](const Arrival& each) { return each.kind == Arrival::Kind::kFetching; });
  const bool closes =
      UCS_PTR_IS_PTR(closing_) && worker_.library->request_check_status(closing_) == UCS_INPROGRESS;
  return !sends && !fetches && !closes;
}

void UcxEndpoint::close() {
  begin_close();
  const Deadline deadline = Deadline::after_ms(kStopMs);
  while (!is_closed() && !deadline.passed()) {
    if (worker_.library->worker_progress(worker_.worker) == 0) ::sched_yield();
  }
}

void UcxEndpoint::release() {
  if (UCS_PTR_IS_PTR(closing_)) worker_.library->request_free(std::exchange(closing_, nullptr));
  for (Arrival& arrival : inbox_) forget(arrival);
}

}  // namespace comity::ucx
