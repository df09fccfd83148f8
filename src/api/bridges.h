// What transports and the engine get of the control plane.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "comity/plugin/transport.h"
#include "src/control/control.h"
#include "src/engine/communicator.h"

namespace comity::api {

// Descriptors of peers' memory come over the control plane.
class ControlDescriptors final : public DescriptorSource {
 public:
  ControlDescriptors(const Secret& secret, uint64_t communicator)
      : secret_(secret), communicator_(communicator) {}
  std::unique_ptr<DescriptorFetch> fetch(std::string_view owner_socket_name, uint32_t arena,
                                         std::span<const uint32_t> held) override;

 private:
  Secret secret_;
  uint64_t communicator_;
};

// Hands connections that are done to the control plane. After a fault nothing on them is waited for any more.
class ControlConnections final : public ConnectionKeeper {
 public:
  // How the last communicator that used the connections ended. Any thread.
  void set_faulty(bool faulty) { faulty_.store(faulty, std::memory_order_relaxed); }
  void keep(int socket, std::span<const std::byte> unsent) override;
  void linger(std::unique_ptr<Lingering> connections) override;

 private:
  std::atomic<bool> faulty_{false};
};

// The session as the engine sees it.
class SessionOversight final : public engine::Oversight {
 public:
  explicit SessionOversight(control::Session& session) : session_(session) {}
  bool condemned() const override { return session_.verdict() != nullptr; }
  Status verdict() const override;
  void report(uint64_t number) override { session_.report(number); }
  void report_waiting(uint64_t collective, std::vector<control::WaitingFor::Exchange> incomplete,
                      std::vector<control::PairCount> pairs) override;
  void waiting_over() override { session_.waiting().over(); }
  void declare(const Status& status) override;

 private:
  control::Session& session_;
};

}  // namespace comity::api
