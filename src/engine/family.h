// Family: the connections that the communicators which come from one unique id share.
//
//   Link of communicator 0 ---.                                    .--- Link of communicator 0
//   Link of communicator 3 ----+-- Connections === endpoints ===+--+--- Link of communicator 3
//
// A communicator made by a split opens no connection: its links send over those of the family, and a segment
// names its communicator by an index that all its members share. Whoever progresses a connection delivers
// what comes to any of the family's communicators, on any thread; so with more than one of them the family's
// lock is held while one is advanced that uses shared connections (Hold). While there is one, nobody locks.
//
// An index that is known was told to all members before any of them could send (comityCommSplit ends with an
// exchange), and is never used again: a segment for one that is not here any more is dropped.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/engine/mapping.h"
#include "src/engine/registrations.h"

namespace comity::engine {

class Family;

// One communicator of a family, as segments find it.
class FamilyMember {
 public:
  virtual ~FamilyMember() = default;
  // Where the segments go that a rank of the family sent to this communicator; null: it is no member, or
  // there is no memory. Under the family's lock.
  virtual SegmentSink* sink_from(uint32_t family_rank) = 0;
};

// The connections to one peer: those of a family, or those that one communicator has for itself.
class Connections final : public SegmentSink {
 public:
  // Of one communicator: its link is the sink. The endpoints stay the transport's.
  explicit Connections(std::span<Endpoint* const> endpoints);
  // Of a family, to the rank of that number in it.
  Connections(std::span<Endpoint* const> endpoints, Family& family, uint32_t family_rank);

  std::span<Endpoint* const> endpoints() const { return endpoints_; }
  // What comes may be for another communicator than that of the link that asks: progress them with this sink.
  bool of_family() const { return family_ != nullptr; }
  // The peer's number in the family, by which its connections call it.
  uint32_t family_rank() const { return family_rank_; }
  // Of each segment, over whichever of them it goes; from how many bytes messages are put, 0: never.
  uint32_t segment_bytes() const { return segment_bytes_; }
  uint32_t put_bytes() const { return put_bytes_; }
  // They are of more than one transport.
  bool are_mixed() const { return mixed_; }
  bool puts(size_t at) const { return endpoints_[at]->traits().put_bytes != 0; }
  // So many of them, the first ones, are of the same transport.
  size_t alike() const { return alike_; }
  // Of those that are mixed: whether this one has as much on its way as serves.
  bool is_occupied(size_t at) const;
  // This endpoint accepted another segment: its number among all that it did, from 1.
  uint64_t count_accepted(size_t at) { return ++accepted_[at]; }
  // The memory of this communicator's calls is given back to its owner.
  void let_go(uint32_t communicator);

  // SegmentSink, for a family.
  std::byte* place(const SegmentHeader& header) override;
  Claim claim(const SegmentHeader& header) override;
  bool arrived(const SegmentHeader& header, const std::byte* payload) override;

 private:
  friend class Family;
  static bool are_alike(const Endpoint& one, const Endpoint& other);
  SegmentSink* sink_of(uint32_t communicator);
  void forget(uint32_t communicator);

  std::vector<Endpoint*> endpoints_;
  std::vector<uint64_t> accepted_;  // by endpoint
  size_t alike_ = 0;
  uint32_t segment_bytes_ = 0, put_bytes_ = 0;
  bool mixed_ = false;
  Family* family_ = nullptr;
  uint32_t family_rank_ = 0;
  uint32_t last_ = 0;  // the communicator of last_sink_
  SegmentSink* last_sink_ = nullptr;
  Mapping dropped_;  // where the bytes go that nobody wants
};

class Family {
 public:
  Family() = default;
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  // More than one communicator is there.
  bool shared() const { return members_.load(std::memory_order_acquire) > 1; }
  // Adds a communicator, before any member can send to it; takes it away again, after which nothing of it is
  // touched. Any thread; block for the lock.
  void enter(uint32_t index, FamilyMember& member);
  void leave(uint32_t index);
  // The least index above all that communicators of this rank ever had, or that were reserved.
  uint32_t next_index() const;
  // Takes an index for a communicator that is being made. False: another one was faster, take a greater.
  bool reserve(uint32_t index);

  // Those to a rank of the family over a transport that is the family's, connecting if they are new. Under
  // the lock. Errors: those of Transport::endpoints().
  Result<Connections*> connections(Transport& transport, uint32_t family_rank);
  // What is registered with a transport that is the family's. Under the lock.
  Registrations& registrations(Transport& transport);

  // Of several threads that wait for the family's connections each sleeps on all of them, and is rung when
  // another did something with them. All under the lock, taken by Hold. Puts the sleeper on the list for a
  // communicator, and takes it off.
  void follow(const FamilyMember& member, Sleeper& sleeper) { sleepers_.push_back({&member, &sleeper}); }
  void unfollow(const FamilyMember& member, const Sleeper& sleeper);
  // Something moved: rings those who sleep for other communicators than this one.
  void stir(const FamilyMember& member) {
    if (!sleepers_.empty()) ring_all_but(&member);
  }

  // Holds the lock of `family`, or nothing where that is null.
  class Hold {
   public:
    explicit Hold(Family* family) : family_(family) {
      if (family_ != nullptr) [[unlikely]]
        family_->mutex_.lock();
    }
    ~Hold() {
      if (family_ != nullptr) [[unlikely]]
        family_->mutex_.unlock();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Family* family_;
  };

 private:
  friend class Connections;
  void ring_all_but(const FamilyMember* member);

  mutable std::mutex mutex_;
  std::atomic<uint32_t> members_{0};
  uint32_t next_index_ = 0;
  std::vector<std::pair<const FamilyMember*, Sleeper*>> sleepers_;
  std::unordered_map<uint32_t, FamilyMember*> member_of_index_;
  std::map<std::pair<const Transport*, uint32_t>, std::unique_ptr<Connections>> connections_;
  std::map<const Transport*, std::unique_ptr<Registrations>> registrations_;
};

}  // namespace comity::engine
