#include "src/api/assembly.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>

#include "comity/comity.h"
#include "src/api/calibrate.h"
#include "src/api/layout.h"
#include "src/api/plans.h"
#include "src/base/cpu_mask.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/settings.h"
#include "src/base/text.h"
#include "src/base/this_host.h"
#include "src/control/descriptor_fetch.h"
#include "src/device/host/arena.h"
#include "src/device/registry.h"
#include "transports/shm/shm_transport.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::api {
namespace {

constexpr uint8_t kUnreached = UINT8_MAX;
constexpr const char* kTransportNames[] = {"shm", "tcp"};  // in order of preference

// A descriptor on its way over the control plane.
class ControlFetch final : public DescriptorFetch {
 public:
  explicit ControlFetch(control::DescriptorRequest request) : fetch_(std::move(request)) {}
  Result<int> poll() override {
    COMITY_ASSIGN_OR_RETURN(std::optional<UniqueFd> descriptor, fetch_.poll());
    return descriptor.has_value() ? descriptor->release() : -1;
  }
  void wait(int limit_ms) const override { fetch_.wait(limit_ms); }
  std::vector<uint32_t> gone() const override { return fetch_.gone(); }

 private:
  control::DescriptorFetch fetch_;
};

class ControlDescriptors final : public DescriptorSource {
 public:
  ControlDescriptors(const Secret& secret, uint64_t communicator)
      : secret_(secret), communicator_(communicator) {}
  std::unique_ptr<DescriptorFetch> fetch(std::string_view owner_socket_name, uint32_t arena,
                                         std::span<const uint32_t> held) override {
    control::DescriptorRequest request;
    request.socket_name = owner_socket_name;
    request.arenas = {arena, {held.begin(), held.end()}};
    request.secret = secret_;
    request.communicator = communicator_;
    return std::make_unique<ControlFetch>(std::move(request));
  }

 private:
  Secret secret_;
  uint64_t communicator_;
};

// Hands connections that are done to the control plane. After a fault nothing on them is waited for any more.
class ControlConnections final : public ConnectionKeeper {
 public:
  explicit ControlConnections(const control::Session& session) : session_(session) {}
  void keep(int socket, std::span<const std::byte> unsent) override {
    UniqueFd owned = own_fd(socket);
    if (session_.verdict() == nullptr)
      control::finish_connection(std::move(owned), Bytes(unsent.begin(), unsent.end()));
  }

 private:
  const control::Session& session_;
};

// The session as the engine sees it.
class SessionOversight final : public engine::Oversight {
 public:
  explicit SessionOversight(control::Session& session) : session_(session) {}
  bool condemned() const override { return session_.verdict() != nullptr; }
  Status verdict() const override {
    const control::Verdict* verdict = session_.verdict();
    return verdict == nullptr ? Status() : Status(verdict->code, verdict->message);
  }
  void report(uint64_t number) override { session_.report(number); }
  void declare(const Status& status) override {
    session_.declare(status.code(), std::string(status.message()));
  }

 private:
  control::Session& session_;
};

Result<std::vector<std::string>> wanted_transports() {
  const std::string text = setting_text("COMITY_TRANSPORTS");
  std::vector<std::string> wanted;
  for (const std::string_view name : split(text)) wanted.emplace_back(name);
  for (const std::string& name : wanted) {
    if (std::find(std::begin(kTransportNames), std::end(kTransportNames), name) ==
        std::end(kTransportNames)) {
      return Status(
          Code::kInvalidArgument,
          fmt::format("COMITY_TRANSPORTS=\"{}\": there is no transport \"{}\"; there are shm and tcp", text,
                      name));
    }
  }
  if (wanted.empty()) wanted.assign(std::begin(kTransportNames), std::end(kTransportNames));
  return wanted;
}

class Builder;

class AssemblyImpl final : public Assembly {
 public:
  ~AssemblyImpl() override {
    engine_.reset();
    transports_.clear();
  }
  engine::Communicator& engine() override { return *engine_; }
  control::Session& session() override { return *session_; }

 private:
  friend class Builder;
  std::unique_ptr<control::Session> session_;
  std::unique_ptr<ControlDescriptors> descriptors_;
  std::unique_ptr<ControlConnections> connections_;
  std::unique_ptr<SessionOversight> oversight_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<SelectedPlans> plans_;
  std::unique_ptr<engine::Communicator> engine_;
};

class Builder {
 public:
  Builder(uint32_t nranks, uint32_t rank, Deadline deadline)
      : nranks_(nranks), rank_(rank), deadline_(deadline), transport_of_peer_(nranks, kUnreached) {}

  Result<std::unique_ptr<Assembly>> run(const control::UniqueId& id) {
    // The others wait for this rank: whatever keeps it from them they hear, and all return the one reason.
    if (const Status status = without_exceptions([&] { return prepare(); }); !status.ok()) {
      return control::give_up_joining(id, rank_, nranks_, could_not_set_up(status));
    }
    COMITY_ASSIGN_OR_RETURN(made_->session_,
                            control::Session::join({id, rank_, nranks_, deadline_, nullptr}));
    const Status status = without_exceptions([&] { return assemble(); });
    if (!status.ok()) return made_->session_->conclude(could_not_set_up(status));
    made_->session_->begin_work();
    return std::unique_ptr<Assembly>(std::move(made_));
  }

 private:
  // What the standard library throws when memory or threads run out is an error like any other here.
  template <typename Step>
  static Status without_exceptions(Step step) {
    try {
      return step();
    } catch (const std::exception& thrown) {
      return Status(Code::kSystemError,
                    fmt::format("the system refused memory or a thread: {}", thrown.what()));
    }
  }

  Status could_not_set_up(const Status& why) const {
    return Status(why.code(), fmt::format("rank {} could not set up: {}", rank_, why.message()));
  }

  Status prepare() {
    COMITY_ASSIGN_OR_RETURN(const uint64_t seconds, setting_number("COMITY_TIMEOUT"));
    timeout_ns_ = seconds * 1'000'000'000u;
    COMITY_ASSIGN_OR_RETURN(registry_, devices());
    return {};
  }

  Status assemble() {
    made_->oversight_ = std::make_unique<SessionOversight>(*made_->session_);
    COMITY_RETURN_IF_ERROR(open_transports());
    COMITY_RETURN_IF_ERROR(exchange_addresses());
    COMITY_RETURN_IF_ERROR(find_hosts());
    COMITY_RETURN_IF_ERROR(reach_the_rest());
    COMITY_RETURN_IF_ERROR(choose());
    COMITY_RETURN_IF_ERROR(agree("before calibration"));
    make_engine();
    COMITY_ASSIGN_OR_RETURN(
        const auto measured,
        calibrate({*made_->engine_, *made_->session_, made_->plans_->topology(), one_machine_, deadline_}));
    if (measured) {  // on all ranks or on none
      layout_.take(*measured);
      COMITY_RETURN_IF_ERROR(choose());
      made_->engine_->forget_bindings();
      COMITY_RETURN_IF_ERROR(agree("after calibration"));
    }
    if (rank_ == 0) {
      COMITY_LOG_INFO("{}\n{}{}", layout_.describe(), topology::describe(made_->plans_->topology()),
                      made_->plans_->selection().describe());
    }
    return {};
  }

  Status open_transports() {
    if (nranks_ == 1) return {};
    control::Session& session = *made_->session_;
    made_->descriptors_ =
        std::make_unique<ControlDescriptors>(session.data_secret(), session.communicator_id());
    made_->connections_ = std::make_unique<ControlConnections>(session);
    TransportContext context;
    context.rank = rank_;
    context.nranks = nranks_;
    context.communicator = session.communicator_id();
    context.secret = session.data_secret();
    context.descriptors = made_->descriptors_.get();
    context.connections = made_->connections_.get();
    COMITY_ASSIGN_OR_RETURN(context.descriptor_socket_name, control::descriptor_socket_name());
    COMITY_ASSIGN_OR_RETURN(const auto wanted, wanted_transports());
    const bool sockets = std::find(wanted.begin(), wanted.end(), "tcp") != wanted.end();
    for (const char* name : kTransportNames) {
      if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
      auto made = std::string_view(name) == "shm" ? shm::make_shm_transport(context)
                                                  : tcp::make_tcp_transport(context);
      if (!made.ok() && std::string_view(name) == "shm" && sockets) {
        COMITY_LOG_WARN("rank {}: no shared memory, using sockets: {}", rank_, made.status().message());
        made = shm::make_absent_transport(made.status());
      }
      if (!made.ok()) return made.status().in(name);
      made_->transports_.push_back(std::move(made).value());
    }
    return {};
  }

  Status exchange_addresses() {
    const std::string machine = boot_id();
    COMITY_ASSIGN_OR_RETURN(view_, local_view());
    ByteWriter mine;
    mine.put_text(machine).put(usable_cpus()).put(topology::digest_of(view_));
    for (const auto& transport : made_->transports_)
      mine.put_text(transport->name()).put_blob(transport->address());
    COMITY_ASSIGN_OR_RETURN(const auto all, made_->session_->all_gather(mine.take(), deadline_));
    addresses_.resize(nranks_);
    CpuMask cpus{};
    uint32_t sharers = 0;
    for (uint32_t peer = 0; peer < nranks_; ++peer) {
      ByteReader reader(all[peer]);
      const bool together = reader.get_text() == machine;
      const auto its_cpus = reader.get<CpuMask>();
      view_digests_.push_back(reader.get<uint64_t>());
      if (together) {
        ++sharers;
        cpus = join(cpus, its_cpus);
      }
      for (const auto& transport : made_->transports_) {
        const std::string name = reader.get_text();
        const auto blob = reader.get_blob();
        if (!reader.ok() || name != transport->name()) {
          return Status(Code::kInvalidUsage,
                        fmt::format("rank {} has other transports than rank {}: set COMITY_TRANSPORTS alike",
                                    peer, rank_));
        }
        addresses_[peer].emplace_back(blob.begin(), blob.end());
      }
    }
    oversubscribed_ = sharers > count(cpus);
    one_machine_ = sharers == nranks_;
    return {};
  }

  // Tries shared memory with everyone; ranks that name the same lowest rank share a host. One that could not
  // reach a rank of its own host stands alone and uses sockets, so that all see the same hosts.
  Status find_hosts() {
    std::string mine = fmt::format("host of rank {}", rank_);
    if (!made_->transports_.empty() && made_->transports_[0]->name() == "shm") {
      uint32_t lowest = rank_;
      bool failed = false;
      for (uint32_t peer = 0; peer < nranks_; ++peer) {
        if (peer == rank_) continue;
        const Status status = made_->transports_[0]->reach(peer, addresses_[peer][0]);
        if (status.ok()) {
          transport_of_peer_[peer] = 0;
          lowest = std::min(lowest, peer);
        } else if (status.code() != Code::kUnsupported) {
          COMITY_LOG_WARN("rank {}: shared memory with rank {} failed, using sockets: {}", rank_, peer,
                          status.message());
          failed = true;
        }
      }
      mine = fmt::format("{} of rank {}", failed ? "alone" : "host", failed ? rank_ : lowest);
    }
    return lay_out(mine);
  }

  // Gathers hosts and views, and agrees on one graph.
  Status lay_out(const std::string& host) {
    ByteWriter writer;
    writer.put_text(host).put_text(topology::sends_text(view_digests_, rank_) ? view_ : std::string());
    COMITY_ASSIGN_OR_RETURN(const auto all, made_->session_->all_gather(writer.take(), deadline_));
    std::vector<std::string> hosts;
    std::vector<topology::View> views;
    for (uint32_t peer = 0; peer < nranks_; ++peer) {
      ByteReader reader(all[peer]);
      hosts.push_back(reader.get_text());
      views.push_back({view_digests_[peer], reader.get_text()});
      if (!reader.ok()) return Status(Code::kRemoteError, fmt::format("rank {} sent a damaged view", peer));
    }
    COMITY_ASSIGN_OR_RETURN(const auto grouped, topology::from_hosts(hosts));
    host_of_rank_ = grouped.group_of_rank;
    const bool shm = !made_->transports_.empty() && made_->transports_[0]->name() == "shm";
    return layout_.agree(views, host_of_rank_, shm, rank_);
  }

  Status reach_the_rest() {
    const size_t last = made_->transports_.size() - 1;
    for (uint32_t peer = 0; peer < nranks_; ++peer) {
      if (peer == rank_) continue;
      const bool together = host_of_rank_[peer] == host_of_rank_[rank_];
      if (together && transport_of_peer_[peer] != kUnreached) continue;
      if (made_->transports_[last]->name() != "tcp") {
        return Status(
            Code::kInvalidUsage,
            fmt::format("rank {} is on another host than rank {} and COMITY_TRANSPORTS allows no sockets",
                        peer, rank_));
      }
      COMITY_RETURN_IF_ERROR(made_->transports_[last]->reach(peer, addresses_[peer][last]));
      transport_of_peer_[peer] = static_cast<uint8_t>(last);
    }
    return {};
  }

  Status choose() {
    COMITY_ASSIGN_OR_RETURN(auto topology, layout_.topology());
    COMITY_ASSIGN_OR_RETURN(const auto accumulate,
                            algorithms::accumulate_named(setting_text("COMITY_ACCUMULATE")));
    COMITY_ASSIGN_OR_RETURN(auto selection,
                            algorithms::Selection::make(topology, setting_text("COMITY_ALGO"), accumulate));
    if (made_->plans_ == nullptr) {
      made_->plans_ = std::make_unique<SelectedPlans>(std::move(topology), std::move(selection));
      made_->plans_->set_rank(rank_);
    } else {
      made_->plans_->use(std::move(topology), std::move(selection));
    }
    return {};
  }

  Status agree(const char* when) {
    std::vector<std::pair<std::string, std::string>> items;
    items.emplace_back("version", std::to_string(COMITY_VERSION_CODE));
    for (const Setting& setting : settings()) {
      if (setting.agreed) items.emplace_back(setting.name, setting_text(setting.name));
    }
    items.emplace_back(fmt::format("graph {}", when), layout_.describe());
    items.emplace_back(fmt::format("topology {}", when), topology::describe(made_->plans_->topology()));
    items.emplace_back(fmt::format("selection {}", when), made_->plans_->selection().describe());
    return made_->session_->agree(items, deadline_);
  }

  void make_engine() {
    engine::CommunicatorOptions options;
    options.rank = rank_;
    options.nranks = nranks_;
    options.id = made_->session_->communicator_id();
    for (const auto& transport : made_->transports_) options.transports.push_back(transport.get());
    options.transport_of_peer = transport_of_peer_;
    options.plans = made_->plans_.get();
    options.devices = registry_;
    options.calls = &made_->session_->calls();
    options.oversight = made_->oversight_.get();
    options.oversubscribed = oversubscribed_;
    options.timeout_ns = timeout_ns_;
    made_->engine_ = std::make_unique<engine::Communicator>(std::move(options));
  }

  uint32_t nranks_, rank_;
  Deadline deadline_;
  uint64_t timeout_ns_ = 0;
  bool one_machine_ = false;
  bool oversubscribed_ = false;  // more ranks on this machine than cores that they may use
  DeviceRegistry* registry_ = nullptr;
  std::unique_ptr<AssemblyImpl> made_ = std::make_unique<AssemblyImpl>();
  std::vector<std::vector<Bytes>> addresses_;  // by rank, by transport
  std::vector<uint8_t> transport_of_peer_;
  std::string view_;                    // what this process sees of its machine
  std::vector<uint64_t> view_digests_;  // by rank
  std::vector<uint32_t> host_of_rank_;
  Layout layout_;
};

}  // namespace

Result<DeviceRegistry*> devices() {
  static DeviceRegistry* registry = nullptr;  // lives as long as the process: buffers outlive communicators
  const std::lock_guard lock(process_lock(ProcessLock::kDevices));
  if (registry == nullptr) {
    COMITY_ASSIGN_OR_RETURN(auto made, DeviceRegistry::open());
    control::serve_descriptors([](uint32_t arena) { return RegionTable::instance().descriptor_of(arena); });
    registry = made.release();
  }
  return registry;
}

Result<std::unique_ptr<Assembly>> Assembly::make(const control::UniqueId& id, uint32_t nranks,
                                                 uint32_t rank) {
  const Result<uint64_t> timeout_ms = setting_number("COMITY_INIT_TIMEOUT_MS");
  if (!timeout_ms.ok()) return control::give_up_joining(id, rank, nranks, timeout_ms.status());
  return Builder(nranks, rank, Deadline::after_ms(*timeout_ms)).run(id);
}

}  // namespace comity::api
