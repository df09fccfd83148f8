// Shared memory where there is none: what a rank has whose system refuses memory files.
#include <utility>

#include "transports/shm/address.h"
#include "transports/shm/shm_transport.h"

namespace comity::shm {
namespace {

class AbsentTransport final : public Transport {
 public:
  explicit AbsentTransport(Status why) : why_(Code::kUnsupported, std::string(why.message())) {}
  std::string_view name() const override { return "shm"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t, std::span<const std::byte>) override { return why_; }
  Result<std::span<Endpoint* const>> endpoints(uint32_t) override { return why_; }
  Status progress() override { return {}; }
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper&) override {}
  void disarm(Sleeper&) override {}

 private:
  Status why_;
  std::vector<std::byte> address_ = encode(Address{});
};

}  // namespace

std::unique_ptr<Transport> make_absent_transport(Status why) {
  return std::make_unique<AbsentTransport>(std::move(why));
}

}  // namespace comity::shm
