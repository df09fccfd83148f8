#include "src/api/assembly.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>

#include "comity/comity.h"
#include "src/api/calibrate.h"
#include "src/api/layout.h"
#include "src/api/rank_parts.h"
#include "src/base/cpu_mask.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/settings.h"
#include "src/base/text.h"
#include "src/base/this_host.h"
#include "src/device/host/arena.h"
#include "src/device/registry.h"
#include "transports/shm/shm_transport.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::api {
namespace {

constexpr uint8_t kUnreached = UINT8_MAX;
constexpr const char* kTransportNames[] = {"shm", "tcp"};  // in order of preference

Result<std::vector<std::string>> wanted_transports(const Settings& settings) {
  const std::string& text = settings.text("COMITY_TRANSPORTS");
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

// In the same words on every rank.
Status could_not_set_up(uint32_t rank, const Status& why) {
  return Status(why.code(), fmt::format("rank {} could not set up: {}", rank, why.message()));
}

class Builder {
 public:
  Builder(uint32_t nranks, uint32_t rank, const CommConfig& config, const std::atomic<bool>* cancelled)
      : nranks_(nranks),
        rank_(rank),
        config_(config),
        cancelled_(cancelled),
        deadline_(Deadline::after_ms(config.init_timeout_ms)),
        made_(std::make_unique<RankParts>(config, std::make_shared<FamilyParts>())) {
    made_->places.rank = rank;
    made_->places.transport_of_peer.assign(nranks, kUnreached);
    for (uint32_t i = 0; i < nranks; ++i) made_->places.family_rank.push_back(i);
  }

  Result<std::unique_ptr<Assembly>> run(const control::UniqueId& id) {
    // The others wait for this rank: whatever keeps it from them they hear, and all return the one reason.
    if (const Status status = without_exceptions([&] { return prepare(); }); !status.ok()) {
      return control::give_up_joining(id, rank_, nranks_, could_not_set_up(rank_, status), &config_.settings);
    }
    COMITY_ASSIGN_OR_RETURN(made_->control, control::Session::join({id, rank_, nranks_, deadline_, cancelled_,
                                                                    config_.settings, config_.name}));
    const Status status = without_exceptions([&] { return assemble(); });
    if (!status.ok()) return made_->control->conclude(could_not_set_up(rank_, status));
    made_->control->begin_work();
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

  Status prepare() {
    COMITY_ASSIGN_OR_RETURN(made_->family->registry, devices());
    return {};
  }

  Status assemble() {
    made_->oversight = std::make_unique<SessionOversight>(*made_->control);
    COMITY_RETURN_IF_ERROR(open_transports());
    COMITY_RETURN_IF_ERROR(exchange_addresses());
    COMITY_RETURN_IF_ERROR(find_hosts());
    COMITY_RETURN_IF_ERROR(reach_the_rest());
    COMITY_RETURN_IF_ERROR(made_->choose());
    COMITY_RETURN_IF_ERROR(agree("before calibration"));
    made_->make_engine(0);
    COMITY_ASSIGN_OR_RETURN(const auto measured,
                            calibrate({made_->engine(), made_->session(), made_->plans->topology(),
                                       one_machine_, deadline_, cancelled_, name_of_rank(rank_, config_)}));
    if (measured) {  // on all ranks or on none
      made_->layout.take(*measured);
      COMITY_RETURN_IF_ERROR(made_->choose());
      made_->engine().forget_bindings();
      COMITY_RETURN_IF_ERROR(agree("after calibration"));
    }
    if (rank_ == 0) {
      COMITY_LOG_INFO("{}: {}\n{}{}", name_of_rank(rank_, config_), made_->layout.describe(),
                      topology::describe(made_->plans->topology()), made_->plans->selection().describe());
    }
    return {};
  }

  Status open_transports() {
    FamilyParts& family = *made_->family;
    family.secret = made_->control->data_secret();
    family.id = made_->control->communicator_id();
    if (nranks_ == 1) return {};
    family.descriptors = std::make_unique<ControlDescriptors>(family.secret, family.id);
    COMITY_ASSIGN_OR_RETURN(family.descriptor_socket_name, control::descriptor_socket_name());
    TransportContext context;
    context.rank = rank_;
    context.nranks = nranks_;
    context.communicator = family.id;
    context.secret = family.secret;
    context.descriptors = family.descriptors.get();
    context.connections = &family.connections;
    context.background = &family.background;
    context.descriptor_socket_name = family.descriptor_socket_name;
    COMITY_ASSIGN_OR_RETURN(const auto wanted, wanted_transports(config_.settings));
    const bool sockets = std::find(wanted.begin(), wanted.end(), "tcp") != wanted.end();
    for (const char* name : kTransportNames) {
      if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
      const bool in_memory = std::string_view(name) == "shm";
      auto made =
          in_memory ? shm::make_shm_transport(context) : tcp::make_tcp_transport(context, config_.settings);
      if (!made.ok() && in_memory && sockets) {
        COMITY_LOG_WARN("{}: no shared memory, using sockets: {}", name_of_rank(rank_, config_),
                        made.status().message());
        made = shm::make_absent_transport(made.status());
      }
      if (!made.ok()) return made.status().in(name);
      std::unique_ptr<Transport>& kept = in_memory ? made_->memory : family.sockets;
      kept = std::move(made).value();
      made_->add(*kept);
    }
    return {};
  }

  Status exchange_addresses() {
    const std::string machine = boot_id();
    COMITY_ASSIGN_OR_RETURN(view_, local_view());
    ByteWriter mine;
    mine.put_text(machine).put(usable_cpus()).put(topology::digest_of(view_));
    for (const Transport* transport : made_->transports())
      mine.put_text(transport->name()).put_blob(transport->address());
    COMITY_ASSIGN_OR_RETURN(const auto all, made_->control->all_gather(mine.take(), deadline_));
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
      for (const Transport* transport : made_->transports()) {
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
    made_->places.oversubscribed = sharers > count(cpus);
    one_machine_ = sharers == nranks_;
    return {};
  }

  // Tries shared memory with everyone; ranks that name the same lowest rank share a host. One that could not
  // reach a rank of its own host stands alone and uses sockets, so that all see the same hosts.
  Status find_hosts() {
    std::string mine = fmt::format("host of rank {}", rank_);
    if (has_memory()) {
      uint32_t lowest = rank_;
      bool failed = false;
      for (uint32_t peer = 0; peer < nranks_; ++peer) {
        if (peer == rank_) continue;
        const Status status = made_->memory->reach(peer, addresses_[peer][0]);
        if (status.ok()) {
          made_->places.transport_of_peer[peer] = 0;
          lowest = std::min(lowest, peer);
        } else if (status.code() != Code::kUnsupported) {
          COMITY_LOG_WARN("{}: shared memory with rank {} failed, using sockets: {}",
                          name_of_rank(rank_, config_), peer, status.message());
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
    COMITY_ASSIGN_OR_RETURN(const auto all, made_->control->all_gather(writer.take(), deadline_));
    std::vector<std::string> hosts;
    std::vector<topology::View> views;
    for (uint32_t peer = 0; peer < nranks_; ++peer) {
      ByteReader reader(all[peer]);
      hosts.push_back(reader.get_text());
      views.push_back({view_digests_[peer], reader.get_text()});
      if (!reader.ok()) return Status(Code::kRemoteError, fmt::format("rank {} sent a damaged view", peer));
    }
    COMITY_ASSIGN_OR_RETURN(const auto grouped, topology::from_hosts(hosts));
    made_->places.host_of_rank = grouped.group_of_rank;
    return made_->layout.agree(views, grouped.group_of_rank, has_memory(), rank_);
  }

  bool has_memory() const { return made_->memory != nullptr && made_->memory->name() == "shm"; }

  Status reach_the_rest() {
    const size_t last = made_->transports().size() - 1;
    RankParts::Places& places = made_->places;
    for (uint32_t peer = 0; peer < nranks_; ++peer) {
      if (peer == rank_) continue;
      const bool together = places.host_of_rank[peer] == places.host_of_rank[rank_];
      if (together && places.transport_of_peer[peer] != kUnreached) continue;
      if (made_->family->sockets == nullptr) {
        return Status(
            Code::kInvalidUsage,
            fmt::format("rank {} is on another host than rank {} and COMITY_TRANSPORTS allows no sockets",
                        peer, rank_));
      }
      COMITY_RETURN_IF_ERROR(made_->family->sockets->reach(peer, addresses_[peer][last]));
      places.transport_of_peer[peer] = static_cast<uint8_t>(last);
    }
    return {};
  }

  Status agree(const char* when) {
    std::vector<std::pair<std::string, std::string>> items;
    items.emplace_back("version", std::to_string(COMITY_VERSION_CODE));
    for (const Setting& setting : settings()) {
      if (setting.agreed) items.emplace_back(setting.name, config_.settings.text(setting.name));
    }
    items.emplace_back(fmt::format("graph {}", when), made_->layout.describe());
    items.emplace_back(fmt::format("topology {}", when), topology::describe(made_->plans->topology()));
    items.emplace_back(fmt::format("selection {}", when), made_->plans->selection().describe());
    return made_->control->agree(items, deadline_);
  }

  uint32_t nranks_, rank_;
  const CommConfig& config_;
  const std::atomic<bool>* cancelled_;  // may be null
  Deadline deadline_;
  bool one_machine_ = false;
  std::unique_ptr<RankParts> made_;
  std::vector<std::vector<Bytes>> addresses_;  // by rank, by transport
  std::string view_;                           // what this process sees of its machine
  std::vector<uint64_t> view_digests_;         // by rank
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

Result<std::unique_ptr<Assembly>> Assembly::make(const control::UniqueId& id, uint32_t nranks, uint32_t rank,
                                                 const Result<CommConfig>& config,
                                                 const std::atomic<bool>* cancelled) {
  if (!config.ok())
    return control::give_up_joining(id, rank, nranks, could_not_set_up(rank, config.status()));
  return Builder(nranks, rank, *config, cancelled).run(id);
}

}  // namespace comity::api
