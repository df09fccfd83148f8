// Several transports to other hosts as one: a pair of ranks that more than one of them joins has the
// connections of all, over which its links stripe (link_stripe.cc). They stay the transports'.
//
//   JoinedTransports both({&verbs, &tcp});
//   both.endpoints(3)    // of verbs and of tcp, those with the least latency first
//
// Like any transport it is called by one thread at a time, as Transport says, and so are those that it
// joins, which may also be used by themselves.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comity/plugin/transport.h"

namespace comity::engine {

class JoinedTransports final : public Transport {
 public:
  // At least two, which outlive this. At most one of them registers memory (registers_from() > 0): a message
  // has one registration.
  explicit JoinedTransports(std::vector<Transport*> members);

  // "verbs+tcp".
  std::string_view name() const override { return name_; }
  // Empty: the members have told theirs.
  const std::vector<std::byte>& address() const override { return address_; }
  // Success: the members have reached the peer already.
  Status reach(uint32_t peer, std::span<const std::byte> address) override;
  // The least latency and the sum of bandwidths.
  PathFigures figures(uint32_t peer) const override;
  Result<std::span<Endpoint* const>> endpoints(uint32_t peer) override;
  Status progress() override;
  bool reaches(const Device& device) const override;
  uint64_t registers_from() const override;
  Result<std::unique_ptr<Registration>> register_memory(const Device* device, std::byte* data,
                                                        uint64_t bytes) override;
  RemoteMemory expose(const TargetMemory& memory) const override;
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper& sleeper) override;
  void disarm(Sleeper& sleeper) override;

 private:
  std::vector<Transport*> members_;
  Transport* registrar_ = nullptr;  // null: nobody registers
  std::string name_;
  std::vector<std::byte> address_;
  std::map<uint32_t, std::vector<Endpoint*>> endpoints_;  // by peer
};

}  // namespace comity::engine
