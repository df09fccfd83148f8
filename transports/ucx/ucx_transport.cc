#include "transports/ucx/ucx_transport.h"

#include <fmt/core.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/fork.h"
#include "src/base/handshake.h"
#include "src/base/log.h"
#include "transports/ucx/address.h"
#include "transports/ucx/library.h"
#include "transports/ucx/ucx_endpoint.h"

namespace comity::ucx {
namespace {

constexpr uint64_t kStopMs = 500;    // for UCX to end what is under way
constexpr uint64_t kPartMs = 2'000;  // for peers to say farewell, too
constexpr uint64_t kRegistersFrom = 64 * 1024;
constexpr uint32_t kLookEveryPolls = 1024;
constexpr uint64_t kLookEveryNs = 500'000'000;
constexpr uint32_t kLettersAtOnce = 16;  // they go through the control tree's root
static_assert(2 * kLookEveryNs < Silence::kAbsentNs);
// Estimates before calibration: over a fabric, and over sockets, where our own transport is the faster one.
constexpr PathFigures kOverFabric{2'000, 10'000'000'000};
constexpr PathFigures kOverSockets{20'000, 1'000'000'000};

Token token_of(const Secret& secret, uint64_t communicator, uint32_t from, uint32_t to) {
  const Secret derived = derive_secret(secret, fmt::format("ucx {:016x} {} {}", communicator, from, to));
  Token token;
  std::copy_n(derived.begin(), token.size(), token.begin());
  return token;
}

// A worker and what hangs on it. It outlives its transport until nothing that was sent can be lost: UCX
// closes its connections with all that is on them, so nobody closes before the peer said farewell, too.
class Session final : public Lingering {
 public:
  explicit Session(const TransportContext& context) : context_(context), endpoints_(context.nranks) {}
  ~Session() override;
  bool step() override;

  Status open();
  Worker& worker() { return worker_; }
  int descriptor() const { return descriptor_; }
  Status failed(const char* what, ucs_status_t status) const;
  UcxEndpoint& endpoint_to(uint32_t peer);
  void say_farewell() const;

 private:
  static ucs_status_t on_message(void* arg, const void* header, size_t header_length, void* data,
                                 size_t length, const ucp_am_recv_param_t* param);
  Status make_context();
  Status make_worker();
  template <typename Visit>
  void each(Visit visit) const {
    for (const auto& endpoint : endpoints_) {
      if (endpoint != nullptr) visit(*endpoint);
    }
  }

  const TransportContext context_;
  const uint32_t era_ = fork_era();
  Worker worker_;
  int descriptor_ = -1;                                  // the worker's
  std::vector<std::unique_ptr<UcxEndpoint>> endpoints_;  // by peer
  bool warned_ = false;
};

class UcxTransport final : public Transport, public MailReceiver {
 public:
  explicit UcxTransport(const TransportContext& context)
      : context_(context),
        session_(std::make_unique<Session>(context)),
        pointers_(context.nranks),
        peers_(context.nranks) {}
  ~UcxTransport() override;

  Status open();

  std::string_view name() const override { return "ucx"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  PathFigures figures(uint32_t peer) const override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  // Each endpoint progresses the worker; here silence is looked at.
  Status progress() override;
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  uint64_t registers_from() const override { return kRegistersFrom; }
  Result<std::unique_ptr<Registration>> register_memory(const Device* device, std::byte* data,
                                                        uint64_t bytes) override;
  void arm(Sleeper& sleeper) override;
  void disarm(Sleeper&) override { slept_ = true; }
  // What a peer says that it sent.
  void came(uint32_t from, std::span<const std::byte> letter) override;

 private:
  void look_at_silence(uint64_t now_ns);

  struct Peer {
    bool reached = false;
    bool fabric = false;
  };

  const TransportContext context_;
  std::unique_ptr<Session> session_;
  RankAddress self_;
  std::vector<std::byte> address_;
  std::vector<Endpoint*> pointers_;  // by peer, once they were asked for
  std::vector<Peer> peers_;
  bool mail_open_ = false, slept_ = false;
  uint32_t polls_ = 0;
  uint64_t look_at_ns_ = 0;
  uint32_t look_from_ = 0;            // peer
  std::mutex mutex_;                  // of what follows
  std::map<uint32_t, Account> told_;  // by peer
};

// --- leaving -----------------------------------------------------------------------------------------------

Session::~Session() {
  if (era_ != fork_era()) return;
  if (worker_.worker != nullptr) {
    each([](UcxEndpoint& endpoint) { endpoint.begin_close(); });
    const Deadline deadline = Deadline::after_ms(kStopMs);
    for (bool all = false; !all && !deadline.passed();) {
      all = true;
      each([&all](const UcxEndpoint& endpoint) { all = all && endpoint.is_closed(); });
      if (!all && worker_.library->worker_progress(worker_.worker) == 0) ::sched_yield();
    }
    each([](UcxEndpoint& endpoint) { endpoint.release(); });
    worker_.library->worker_destroy(worker_.worker);
  }
  if (worker_.context != nullptr) worker_.library->cleanup(worker_.context);
}

void Session::say_farewell() const {
  each([](UcxEndpoint& endpoint) { endpoint.say_farewell(); });
}

bool Session::step() {
  say_farewell();
  while (worker_.worker != nullptr && worker_.library->worker_progress(worker_.worker) != 0) continue;
  return std::all_of(endpoints_.begin(), endpoints_.end(),
                     [](const auto& endpoint) { return endpoint == nullptr || endpoint->parted(); });
}

UcxTransport::~UcxTransport() {
  if (mail_open_) context_.mail->close();
  session_->say_farewell();
  if (session_->step()) return;
  if (context_.connections != nullptr) {
    context_.connections->linger(std::move(session_));
    return;
  }
  const Deadline deadline = Deadline::after_ms(kPartMs);
  while (!session_->step() && !deadline.passed()) ::sched_yield();
}

// --- opening -----------------------------------------------------------------------------------------------

Status Session::failed(const char* what, ucs_status_t status) const {
  return Status(Code::kSystemError,
                fmt::format("UCX {}.{}.{} cannot {}: {}; UCX_LOG_LEVEL=info says more, and UCX_TLS and "
                            "UCX_NET_DEVICES choose what it uses",
                            worker_.library->major, worker_.library->minor, worker_.library->release, what,
                            worker_.library->text(status)));
}

Status Session::open() {
  COMITY_ASSIGN_OR_RETURN(worker_.library, library());
  COMITY_RETURN_IF_ERROR(make_context());
  return make_worker();
}

Status UcxTransport::open() {
  COMITY_RETURN_IF_ERROR(session_->open());
  const Worker& worker = session_->worker();
  self_.major = worker.library->major;
  self_.minor = worker.library->minor;
  self_.fabric = has_fabric();
  ucp_address_t* address = nullptr;
  size_t length = 0;
  const ucs_status_t got = worker.library->worker_get_address(worker.worker, &address, &length);
  if (got != UCS_OK) return session_->failed("tell its address", got);
  const auto* bytes = reinterpret_cast<const std::byte*>(address);
  self_.worker.assign(bytes, bytes + length);
  worker.library->worker_release_address(worker.worker, address);
  address_ = encode(self_);
  mail_open_ = context_.mail != nullptr;
  if (mail_open_) context_.mail->open(*this);
  return {};
}

Status Session::make_context() {
  ucp_config_t* config = nullptr;
  ucs_status_t status = worker_.library->config_read(nullptr, nullptr, &config);
  if (status != UCS_OK) return failed("read its settings", status);
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS | UCP_PARAM_FIELD_NAME |
                      UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.mt_workers_shared = 1;  // memory is unmapped on any thread
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.estimated_num_eps = context_.nranks;
  params.name = "comity";
  status = worker_.library->init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &worker_.context);
  worker_.library->config_release(config);
  return status == UCS_OK ? Status() : failed("begin", status);
}

Status Session::make_worker() {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucs_status_t status = worker_.library->worker_create(worker_.context, &params, &worker_.worker);
  if (status != UCS_OK) return failed("make a worker", status);
  ucp_am_handler_param_t handler{};
  handler.field_mask =
      UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  handler.id = 0;
  handler.cb = on_message;
  handler.arg = this;
  status = worker_.library->worker_set_am_recv_handler(worker_.worker, &handler);
  if (status != UCS_OK) return failed("take messages", status);
  status = worker_.library->worker_get_efd(worker_.worker, &descriptor_);
  return status == UCS_OK ? Status() : failed("be waited for", status);
}

// --- peers -------------------------------------------------------------------------------------------------

Status UcxTransport::reach(uint32_t peer, std::span<const std::byte> address) {
  if (peer >= context_.nranks || peer == context_.rank) {
    return Status(Code::kInvalidArgument,
                  fmt::format("ucx: rank {} cannot reach rank {}", context_.rank, peer));
  }
  auto decoded = decode(address);
  if (!decoded.ok()) return decoded.status().in(fmt::format("rank {}", peer));
  if (decoded->major != self_.major || decoded->minor != self_.minor) {
    return Status(
        Code::kUnsupported,
        fmt::format("ucx: rank {} has UCX {}.{} and rank {} has {}.{}: install one version everywhere",
                    context_.rank, self_.major, self_.minor, peer, decoded->major, decoded->minor));
  }
  peers_[peer] = {true, decoded->fabric};
  session_->endpoint_to(peer).use_address(std::move(decoded->worker));
  return {};
}

PathFigures UcxTransport::figures(uint32_t peer) const {
  return self_.fabric && peers_[peer].fabric ? kOverFabric : kOverSockets;
}

UcxEndpoint& Session::endpoint_to(uint32_t peer) {
  auto& made = endpoints_[peer];
  if (made != nullptr) return *made;
  EndpointConfig config;
  config.rank = context_.rank;
  config.peer = peer;
  config.figures = has_fabric() ? kOverFabric : kOverSockets;
  config.outgoing = token_of(context_.secret, context_.communicator, context_.rank, peer);
  config.incoming = token_of(context_.secret, context_.communicator, peer, context_.rank);
  made = std::make_unique<UcxEndpoint>(worker_, std::move(config));
  return *made;
}

Result<std::span<Endpoint* const>> UcxTransport::endpoints(uint32_t peer) {
  if (peer >= peers_.size() || !peers_[peer].reached) {
    return Status(Code::kInvalidUsage,
                  fmt::format("ucx: rank {} was not reached by rank {}", peer, context_.rank));
  }
  if (pointers_[peer] == nullptr) {
    UcxEndpoint& endpoint = session_->endpoint_to(peer);
    endpoint.connect();
    pointers_[peer] = &endpoint;
  }
  return std::span<Endpoint* const>(&pointers_[peer], 1);
}

// Whoever knows a worker's address may send to it: what does not prove the secret is dropped.
ucs_status_t Session::on_message(void* arg, const void* header, size_t header_length, void* data,
                                 size_t length, const ucp_am_recv_param_t* param) {
  auto& self = *static_cast<Session*>(arg);
  WireHeader wire;
  if (header_length == sizeof(wire)) {
    std::memcpy(&wire, header, sizeof(wire));
    if (wire.from < self.context_.nranks && wire.from != self.context_.rank) {
      UcxEndpoint& from = self.endpoint_to(wire.from);
      if (from.is_token(wire.token)) return from.came(wire, data, length, param->recv_attr);
    }
  }
  if (!std::exchange(self.warned_, true))
    COMITY_LOG_WARN("ucx: rank {} dropped messages of a stranger", self.context_.rank);
  return UCS_OK;
}

Result<std::unique_ptr<Registration>> UcxTransport::register_memory(const Device* device, std::byte* data,
                                                                    uint64_t bytes) {
  if (device != nullptr && !device->host_addressable())
    return Status(Code::kUnsupported, "ucx: this build maps memory of the host alone");
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = data;
  params.length = bytes;
  ucp_mem_h memory = nullptr;
  const Worker& worker = session_->worker();
  const ucs_status_t mapped = worker.library->mem_map(worker.context, &params, &memory);
  if (mapped != UCS_OK) {
    return session_->failed("map memory (is `ulimit -l` too low?)", mapped)
        .in(fmt::format("{} bytes", bytes));
  }
  return std::unique_ptr<Registration>(std::make_unique<UcxRegistration>(worker, memory));
}

// --- silence ---------------------------------------------------------------------------------------------

Status UcxTransport::progress() {
  if (++polls_ % kLookEveryPolls != 0 && !std::exchange(slept_, false)) return {};
  const uint64_t now = now_ns();
  if (now < look_at_ns_) return {};
  look_at_ns_ = now + kLookEveryNs;
  look_at_silence(now);
  return {};
}

void UcxTransport::look_at_silence(uint64_t now_ns) {
  std::map<uint32_t, Account> told;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    told.swap(told_);
  }
  for (const auto& [peer, account] : told) session_->endpoint_to(peer).told(account);
  uint32_t letters = 0;
  const auto first = look_from_;
  for (uint32_t i = 0; i < peers_.size(); ++i) {
    const auto peer = static_cast<uint32_t>((first + i) % peers_.size());
    if (pointers_[peer] == nullptr) continue;
    UcxEndpoint& endpoint = session_->endpoint_to(peer);
    if (!endpoint.look_at_silence(now_ns, mail_open_ && letters < kLettersAtOnce)) continue;
    const Account account = endpoint.account();
    context_.mail->send(peer, ByteWriter().put(account.sent).put(account.came).take());
    ++letters;
    look_from_ = peer + 1;
  }
}

void UcxTransport::came(uint32_t from, std::span<const std::byte> letter) {
  ByteReader reader(letter);
  Account account;
  account.sent = reader.get<uint64_t>();
  account.came = reader.get<uint64_t>();
  if (!reader.at_end() || from >= context_.nranks || from == context_.rank) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  told_[from] = account;
}

// --- sleeping ----------------------------------------------------------------------------------------------

void UcxTransport::arm(Sleeper& sleeper) {
  const Worker& worker = session_->worker();
  if (worker.library->worker_arm(worker.worker) != UCS_OK) {
    sleeper.ring();  // something came meanwhile
    return;
  }
  sleeper.watch(session_->descriptor(), POLLIN);
  sleeper.at_most(kLookEveryNs);
}

}  // namespace

Result<std::unique_ptr<Transport>> make_ucx_transport(const TransportContext& context) {
  auto transport = std::make_unique<UcxTransport>(context);
  COMITY_RETURN_IF_ERROR(transport->open());
  return std::unique_ptr<Transport>(std::move(transport));
}

Result<std::string> describe_ucx() {
  COMITY_ASSIGN_OR_RETURN(const Library* opened, library());
  return fmt::format("libucp {}.{}.{}", opened->major, opened->minor, opened->release);
}

}  // namespace comity::ucx
