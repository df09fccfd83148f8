#include "src/engine/family.h"

#include <algorithm>

namespace comity::engine {
namespace {

constexpr uint32_t kMixedSegmentBytes = 128 * 1024;

}  // namespace

// --- connections -------------------------------------------------------------------------------------------

Connections::Connections(std::span<Endpoint* const> endpoints)
    : endpoints_(endpoints.begin(), endpoints.end()),
      accepted_(endpoints.size(), 0),
      segment_bytes_(endpoints.front()->traits().segment_bytes) {
  for (const Endpoint* endpoint : endpoints) {
    segment_bytes_ = std::min(segment_bytes_, endpoint->traits().segment_bytes);
    put_bytes_ = std::max(put_bytes_, endpoint->traits().put_bytes);
    mixed_ = mixed_ || !are_alike(*endpoint, *endpoints.front());
  }
  // Short enough that none of unequal ones keeps the window waiting for long.
  while (alike_ < endpoints_.size() && are_alike(*endpoints_[alike_], *endpoints.front())) ++alike_;
  if (mixed_) segment_bytes_ = std::max(std::min(segment_bytes_, kMixedSegmentBytes), put_bytes_);
}

bool Connections::are_alike(const Endpoint& one, const Endpoint& other) {
  return one.traits().put_bytes == other.traits().put_bytes &&
         one.traits().in_order == other.traits().in_order;
}

Connections::Connections(std::span<Endpoint* const> endpoints, Family& family, uint32_t family_rank)
    : Connections(endpoints) {
  family_ = &family;
  family_rank_ = family_rank;
}

SegmentSink* Connections::sink_of(uint32_t communicator) {
  if (last_sink_ != nullptr && last_ == communicator) return last_sink_;
  const auto found = family_->member_of_index_.find(communicator);
  if (found == family_->member_of_index_.end()) return nullptr;
  last_sink_ = found->second->sink_from(family_rank_);
  last_ = communicator;
  return last_sink_;
}

bool Connections::is_occupied(size_t at) const {
  const uint64_t under_way = accepted_[at] - endpoints_[at]->transmitted();
  if (under_way != 1) return under_way != 0;
  return 2 * accepted_[at] < *std::max_element(accepted_.begin(), accepted_.end());
}

std::byte* Connections::place(const SegmentHeader& header) {
  if (SegmentSink* sink = sink_of(header.communicator)) return sink->place(header);
  if (header.communicator >= family_->next_index_ || header.length > segment_bytes()) return nullptr;
  if (dropped_.bytes() == 0) dropped_ = Mapping(segment_bytes());
  return dropped_.data();
}

Claim Connections::claim(const SegmentHeader& header) {
  if (SegmentSink* sink = sink_of(header.communicator)) return sink->claim(header);
  return SegmentSink::claim(header);
}

bool Connections::arrived(const SegmentHeader& header, const std::byte* payload) {
  if (SegmentSink* sink = sink_of(header.communicator)) return sink->arrived(header, payload);
  return header.communicator < family_->next_index_;
}

void Connections::let_go(uint32_t communicator) {
  for (Endpoint* endpoint : endpoints_) endpoint->let_go(communicator);
}

void Connections::forget(uint32_t communicator) {
  let_go(communicator);
  if (last_ == communicator) last_sink_ = nullptr;
}

// --- members -----------------------------------------------------------------------------------------------

void Family::enter(uint32_t index, FamilyMember& member) {
  const std::lock_guard lock(mutex_);
  member_of_index_[index] = &member;
  sleepers_.reserve(member_of_index_.size());
  next_index_ = std::max(next_index_, index + 1);
  members_.fetch_add(1, std::memory_order_release);
}

void Family::leave(uint32_t index) {
  const std::lock_guard lock(mutex_);
  member_of_index_.erase(index);
  for (const auto& [key, connections] : connections_) connections->forget(index);
  ring_all_but(nullptr);
  members_.fetch_sub(1, std::memory_order_release);
}

uint32_t Family::next_index() const {
  const std::lock_guard lock(mutex_);
  return next_index_;
}

bool Family::reserve(uint32_t index) {
  const std::lock_guard lock(mutex_);
  if (index < next_index_) return false;
  next_index_ = index + 1;
  return true;
}

// --- sleeping ----------------------------------------------------------------------------------------------

void Family::unfollow(const FamilyMember& member, const Sleeper& sleeper) {
  const auto listed = [&](const auto& entry) { return entry.first == &member && entry.second == &sleeper; };
  sleepers_.erase(std::find_if(sleepers_.begin(), sleepers_.end(), listed));
}

void Family::ring_all_but(const FamilyMember* member) {
  for (const auto& [its, sleeper] : sleepers_) {
    if (its != member) sleeper->ring();
  }
}

// --- connections -------------------------------------------------------------------------------------------

Result<Connections*> Family::connections(Transport& transport, uint32_t family_rank) {
  const std::pair<const Transport*, uint32_t> key(&transport, family_rank);
  if (const auto known = connections_.find(key); known != connections_.end()) return known->second.get();
  COMITY_ASSIGN_OR_RETURN(const auto endpoints, transport.endpoints(family_rank));
  return (connections_[key] = std::make_unique<Connections>(endpoints, *this, family_rank)).get();
}

Registrations& Family::registrations(Transport& transport) {
  auto& made = registrations_[&transport];
  if (made == nullptr) made = std::make_unique<Registrations>(transport);
  return *made;
}

}  // namespace comity::engine
