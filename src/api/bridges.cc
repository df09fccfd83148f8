#include "src/api/bridges.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/control/background.h"
#include "src/control/descriptor_fetch.h"

namespace comity::api {
namespace {

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

}  // namespace

std::unique_ptr<DescriptorFetch> ControlDescriptors::fetch(std::string_view owner_socket_name, uint32_t arena,
                                                           std::span<const uint32_t> held) {
  control::DescriptorRequest request;
  request.socket_name = owner_socket_name;
  request.arenas = {arena, {held.begin(), held.end()}};
  request.secret = secret_;
  request.communicator = communicator_;
  return std::make_unique<ControlFetch>(std::move(request));
}

void ControlConnections::keep(int socket, std::span<const std::byte> unsent) {
  UniqueFd owned = own_fd(socket);
  if (!faulty_.load(std::memory_order_relaxed))
    control::finish_connection(std::move(owned), Bytes(unsent.begin(), unsent.end()));
}

void ControlConnections::linger(std::unique_ptr<Lingering> connections) {
  if (!faulty_.load(std::memory_order_relaxed)) control::linger(std::move(connections));
}

Status SessionOversight::verdict() const {
  const control::Verdict* verdict = session_.verdict();
  return verdict == nullptr ? Status() : Status(verdict->code, verdict->message);
}

void SessionOversight::report_waiting(uint64_t collective,
                                      std::vector<control::WaitingFor::Exchange> incomplete,
                                      std::vector<control::PairCount> pairs) {
  if (collective != 0)
    session_.waiting().in_collective(collective, std::move(pairs));
  else
    session_.waiting().in_exchanges(std::move(incomplete), std::move(pairs));
  session_.report_waiting();
}

void SessionOversight::declare(const Status& status) {
  session_.declare(status.code(), std::string(status.message()));
}

}  // namespace comity::api
