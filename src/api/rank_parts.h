// What one rank holds of a communicator and of its family: the parts that assembly.cc makes for the first
// communicator of a unique id, and split.cc for those that come from it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/api/assembly.h"
#include "src/api/bridges.h"
#include "src/api/layout.h"
#include "src/api/plans.h"
#include "src/control/background.h"
#include "src/engine/family.h"

namespace comity::api {

// What the communicators of one unique id share on this rank. Lives as long as the last of them.
struct FamilyParts {
  Secret secret{};
  uint64_t id = 0;  // of the first communicator: what sockets of the family prove
  DeviceRegistry* registry = nullptr;
  ControlConnections connections;
  control::LoopBackground background;
  std::unique_ptr<ControlDescriptors> descriptors;
  std::vector<std::unique_ptr<Mail>> mails;
  std::string descriptor_socket_name;
  std::vector<std::unique_ptr<Transport>> transports;  // to other hosts. Under the lock of `engine`
  engine::Family engine;

  bool owns(const Transport* transport) const {
    return std::any_of(transports.begin(), transports.end(),
                       [transport](const auto& each) { return each.get() == transport; });
  }
};

class RankParts final : public Assembly {
 public:
  RankParts(CommConfig its_config, std::shared_ptr<FamilyParts> its_family)
      : config(std::move(its_config)), family(std::move(its_family)) {}
  ~RankParts() override;
  engine::Communicator& engine() override { return *engine_; }
  control::Session& session() override { return *control; }
  const CommConfig& configuration() const override { return config; }
  Result<std::unique_ptr<Assembly>> split(const SplitRequest& request) override;

  // Ranks of this communicator that lie on this rank's host or not, and how each is reached.
  struct Places {
    uint32_t rank = 0;
    std::vector<uint32_t> family_rank;       // by rank
    std::vector<uint32_t> host_of_rank;      // by rank
    std::vector<uint8_t> transport_of_peer;  // by rank; index into transports()
    bool oversubscribed = false;             // more ranks on this machine than cores that they may use
  };

  // A transport of this communicator, its own or the family's; the order is that of transport_of_peer.
  void add(Transport& transport) { transports_.push_back(&transport); }
  const std::vector<Transport*>& transports() const { return transports_; }
  // Chooses plans for the layout. Errors: of the settings.
  Status choose();
  // Puts the engine onto the parts, once all are there.
  void make_engine(uint32_t index);

  CommConfig config;
  std::shared_ptr<FamilyParts> family;
  Places places;
  Layout layout;
  std::unique_ptr<control::Session> control;
  std::unique_ptr<SessionOversight> oversight;
  std::unique_ptr<Transport> memory;  // shared memory, or what stands for its absence; may be null
  std::unique_ptr<SelectedPlans> plans;

 private:
  std::vector<Transport*> transports_;
  std::unique_ptr<engine::Communicator> engine_;
};

}  // namespace comity::api
