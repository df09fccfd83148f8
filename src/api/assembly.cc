#include "src/api/assembly.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "comity/comity.h"
#include "src/api/calibrate.h"
#include "src/api/layout.h"
#include "src/api/rank_parts.h"
#include "src/api/transports.h"
#include "src/base/cpu_mask.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/settings.h"
#include "src/base/this_host.h"
#include "src/device/host/arena.h"
#include "src/device/registry.h"
#include "src/engine/joined_transports.h"

namespace comity::api {
namespace {

constexpr uint8_t kUnreached = UINT8_MAX;
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
    COMITY_ASSIGN_OR_RETURN(wanted_, wanted_transports(config_.settings));
    COMITY_ASSIGN_OR_RETURN(stripe_, striped_transports(config_.settings));
    for (const std::string& name : stripe_) {
      if (std::find(wanted_.names.begin(), wanted_.names.end(), name) != wanted_.names.end()) continue;
      if (!wanted_.chosen) {
        wanted_.names.push_back(name);
      } else if (rank_ == 0) {
        COMITY_LOG_WARN("COMITY_STRIPE names {}, COMITY_TRANSPORTS does not: it carries nothing", name);
      }
    }
    for (const std::string& name : wanted_.names) COMITY_RETURN_IF_ERROR(open_transport(name, context));
    offer_.chosen = wanted_.chosen;
    for (const Transport* transport : made_->transports()) {
      offer_.addresses.emplace_back(transport->name(), transport->address());
      for (Rail& rail : transport->rails()) offer_.rails.emplace_back(transport->name(), std::move(rail));
    }
    if (!offer_.addresses.empty()) return {};
    return Status(Code::kSystemError, fmt::format("no transport could be opened: {}", could_not_open_));
  }

  // One that cannot be had is no fault while there is another.
  Status open_transport(const std::string& name, TransportContext context) {
    const TransportKind& kind = *transport_kind(name);
    const auto box = static_cast<uint8_t>(&kind - transport_kinds().data());
    context.mail = made_->family->mails.emplace_back(made_->control->mail(box)).get();
    auto made = kind.make(context, config_.settings);
    if (!made.ok()) {
      could_not_open_ +=
          fmt::format("{}{}: {}", could_not_open_.empty() ? "" : "; ", name, made.status().message());
      if (wanted_.names.size() == 1 || made.status().code() == Code::kInvalidArgument)
        return made.status().in(name);
      COMITY_LOG_WARN("{}: goes on without {}: {}", name_of_rank(rank_, config_), name,
                      made.status().message());
      return {};
    }
    std::unique_ptr<Transport>& kept =
        kind.in_memory ? made_->memory : made_->family->transports.emplace_back();
    kept = std::move(made).value();
    made_->add(*kept);
    if (!kind.in_memory) opened_.push_back(kept.get());
    return {};
  }

  Status exchange_addresses() {
    const std::string machine = boot_id();
    COMITY_ASSIGN_OR_RETURN(view_, local_view());
    ByteWriter mine;
    mine.put_text(machine).put(usable_cpus()).put(topology::digest_of(view_));
    put(mine, offer_);
    COMITY_ASSIGN_OR_RETURN(const auto all, made_->control->all_gather(mine.take(), deadline_));
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
      offers_.push_back(get_transport_offer(reader));
      if (!reader.at_end())
        return Status(Code::kRemoteError, fmt::format("rank {} sent damaged addresses", peer));
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
        const Bytes* address = offers_[peer].address_of("shm");
        if (address == nullptr) continue;
        const Status status = made_->memory->reach(peer, *address);
        if (status.ok()) {
          made_->places.transport_of_peer[peer] = index_of(*made_->memory);
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
    COMITY_RETURN_IF_ERROR(made_->layout.agree(views, grouped.group_of_rank, transports_in_use(), rank_));
    if (const auto network = reported_network(offers_); network && grouped.ngroups() > 1)
      made_->layout.take_reported(*network);
    return {};
  }

  bool has_memory() const { return made_->memory != nullptr; }

  uint8_t index_of(const Transport& transport) const {
    const auto& all = made_->transports();
    return static_cast<uint8_t>(std::find(all.begin(), all.end(), &transport) - all.begin());
  }

  // Equal on all ranks: inside a host, and across, what any two ranks might use.
  TransportsInUse transports_in_use() const {
    TransportsInUse use;
    std::set<std::string> across;
    for (const TransportOffer& offer : offers_) {
      for (const auto& [name, address] : offer.addresses) {
        if (name == "shm") {
          use.shm = true;
        } else {
          across.insert(name);
        }
      }
    }
    if (!across.empty()) use.across = fmt::format("{}", fmt::join(across, "+"));
    return use;
  }

  Status reach_the_rest() {
    RankParts::Places& places = made_->places;
    for (uint32_t peer = 0; peer < nranks_; ++peer) {
      if (peer == rank_) continue;
      const bool together = places.host_of_rank[peer] == places.host_of_rank[rank_];
      if (together && places.transport_of_peer[peer] != kUnreached) continue;
      COMITY_ASSIGN_OR_RETURN(places.transport_of_peer[peer], reach_across(peer));
    }
    return {};
  }

  // By which of the transports to other hosts; both ranks come to the same.
  Result<uint8_t> reach_across(uint32_t peer) {
    std::vector<Candidate> candidates;
    std::vector<uint8_t> indexes;
    std::vector<Transport*> striped;
    std::string refused;
    for (const auto& transport : opened_) {
      const Bytes* address = offers_[peer].address_of(transport->name());
      if (address == nullptr) continue;
      const Status reached = transport->reach(peer, *address);
      if (reached.ok()) {
        candidates.push_back({std::string(transport->name()), transport->figures(peer)});
        indexes.push_back(index_of(*transport));
        if (std::find(stripe_.begin(), stripe_.end(), transport->name()) != stripe_.end())
          striped.push_back(transport);
      } else if (reached.code() == Code::kUnsupported) {
        refused += fmt::format("; {}", reached.message());
      } else {
        return reached;
      }
    }
    if (striped.size() > 1) return striping_over(striped);
    if (!candidates.empty()) {
      const auto& [lower, higher] = std::minmax(peer, rank_);
      return indexes[choose_transport(offers_[lower], offers_[higher], candidates)];
    }
    return Status(
        Code::kInvalidUsage,
        fmt::format("nothing joins rank {}, which has {}, to rank {}, which has {}, on another host{}{}{}",
                    rank_, offer_.names(), peer, offers_[peer].names(), refused,
                    could_not_open_.empty() ? "" : "; could not be opened: ", could_not_open_));
  }

  // The one that has the connections of all of these.
  uint8_t striping_over(const std::vector<Transport*>& striped) {
    const auto [found, is_new] = joined_.try_emplace(striped);
    if (is_new) {
      auto& kept =
          made_->family->transports.emplace_back(std::make_unique<engine::JoinedTransports>(striped));
      made_->add(*kept);
      found->second = index_of(*kept);
    }
    return found->second;
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
  WantedTransports wanted_;
  std::vector<std::string> stripe_;
  std::vector<Transport*> opened_;                     // those to other hosts
  std::map<std::vector<Transport*>, uint8_t> joined_;  // by what they join
  TransportOffer offer_;
  std::string could_not_open_;
  std::vector<TransportOffer> offers_;  // by rank
  std::string view_;                    // what this process sees of its machine
  std::vector<uint64_t> view_digests_;  // by rank
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

Result<Device*> device_named(const char* name) {
  if (name == nullptr) return Status(Code::kInvalidArgument, "device is NULL");
  COMITY_ASSIGN_OR_RETURN(DeviceRegistry * registry, devices());
  if (Device* found = registry->find(name)) return found;
  std::string names;
  for (const Device* each : registry->all())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", each->name());
  return Status(Code::kInvalidArgument,
                fmt::format("there is no device \"{}\": COMITY_DEVICES opened {}", name, names));
}

Result<std::unique_ptr<Assembly>> Assembly::make(const control::UniqueId& id, uint32_t nranks, uint32_t rank,
                                                 const Result<CommConfig>& config,
                                                 const std::atomic<bool>* cancelled) {
  if (!config.ok())
    return control::give_up_joining(id, rank, nranks, could_not_set_up(rank, config.status()));
  return Builder(nranks, rank, *config, cancelled).run(id);
}

}  // namespace comity::api
