#include "src/engine/joined_transports.h"

#include <algorithm>
#include <utility>

namespace comity::engine {

JoinedTransports::JoinedTransports(std::vector<Transport*> members) : members_(std::move(members)) {
  for (Transport* member : members_) {
    name_ += (name_.empty() ? "" : "+") + std::string(member->name());
    if (member->registers_from() > 0) registrar_ = member;
  }
}

Status JoinedTransports::reach(uint32_t, std::span<const std::byte>) {
  return {};
}

PathFigures JoinedTransports::figures(uint32_t peer) const {
  PathFigures all{UINT64_MAX, 0};
  for (const Transport* member : members_) {
    const PathFigures its = member->figures(peer);
    all.latency_ns = std::min(all.latency_ns, its.latency_ns);
    all.bandwidth_bytes_per_s += its.bandwidth_bytes_per_s;
  }
  return all;
}

Result<std::span<Endpoint* const>> JoinedTransports::endpoints(uint32_t peer) {
  const auto [found, is_new] = endpoints_.try_emplace(peer);
  if (!is_new) return std::span<Endpoint* const>(found->second);
  std::vector<Transport*> by_latency = members_;
  std::stable_sort(by_latency.begin(), by_latency.end(), [peer](const Transport* a, const Transport* b) {
    return a->figures(peer).latency_ns < b->figures(peer).latency_ns;
  });
  std::vector<Endpoint*> all;
  for (Transport* member : by_latency) {
    const auto its = member->endpoints(peer);
    if (!its.ok()) {
      endpoints_.erase(found);
      return its.status();
    }
    all.insert(all.end(), its->begin(), its->end());
  }
  found->second = std::move(all);
  return std::span<Endpoint* const>(found->second);
}

Status JoinedTransports::progress() {
  for (Transport* member : members_) COMITY_RETURN_IF_ERROR(member->progress());
  return {};
}

bool JoinedTransports::reaches(const Device& device) const {
  return std::all_of(members_.begin(), members_.end(),
                     [&](const Transport* member) { return member->reaches(device); });
}

uint64_t JoinedTransports::registers_from() const {
  return registrar_ == nullptr ? 0 : registrar_->registers_from();
}

Result<std::unique_ptr<Registration>> JoinedTransports::register_memory(const Device* device, std::byte* data,
                                                                        uint64_t bytes) {
  if (registrar_ == nullptr) return Transport::register_memory(device, data, bytes);
  return registrar_->register_memory(device, data, bytes);
}

RemoteMemory JoinedTransports::expose(const TargetMemory& memory) const {
  return registrar_ == nullptr ? RemoteMemory() : registrar_->expose(memory);
}

void JoinedTransports::arm(Sleeper& sleeper) {
  for (Transport* member : members_) member->arm(sleeper);
}

void JoinedTransports::disarm(Sleeper& sleeper) {
  for (Transport* member : members_) member->disarm(sleeper);
}

}  // namespace comity::engine
