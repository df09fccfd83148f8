// Registered memory: what transports that pin pages made of the memory of calls, and how long it is kept.
//
//   arenas of MemAlloc          the parts that calls used, until the arena is given back
//   ranges of CommRegister      from their first use until CommDeregister
//   the communicator's own      scratch, staging: as long as they are mapped
//   any other memory            for one call: who freed it may get other memory at its address
//
// Registering happens when a message is posted that needs it, and takes as much as is known to belong
// together: a caller's whole buffer, a whole scratch; where that cannot be had, the message alone. A call
// that failed stopped whoever might still write before its memory is let go (Link::fence).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"

namespace comity::engine {

struct MemoryRange {
  const std::byte* data = nullptr;
  uint64_t bytes = 0;
  bool holds(const std::byte* other, uint64_t other_bytes) const {
    return other >= data && static_cast<uint64_t>(other - data) <= bytes &&
           other_bytes <= bytes - static_cast<uint64_t>(other - data);
  }
};

// The ranges that a caller registered with a communicator. Any thread.
class MemoryHints {
 public:
  struct Hint {
    uint64_t id = 0;
    MemoryRange range;
  };
  uint64_t add(const MemoryRange& range);
  // False: there is none of that number.
  bool remove(uint64_t id);
  void clear();
  // One that holds the range.
  std::optional<Hint> find(const std::byte* data, uint64_t bytes) const;
  bool contains(uint64_t id) const;

 private:
  mutable std::mutex mutex_;
  uint64_t next_ = 1;
  std::map<uint64_t, MemoryRange> ranges_;
};

// What one transport registered beyond single calls. Like the transport's: one thread at a time, under the
// family's lock where the transport is a family's. Goes before the transport.
class Registrations {
 public:
  using Kept = std::shared_ptr<const Registration>;
  explicit Registrations(Transport& transport) : transport_(transport) {}

  // Registers a range for as long as the result is kept. Errors: Transport::register_memory()'s.
  Result<Kept> make(const MemoryRange& range);
  // Of memory of an arena of this process's: a registration that holds the range, kept here, and what it
  // holds. Nothing: it is other memory.
  struct InArena {
    MemoryRange range;
    Kept registration;
  };
  Result<std::optional<InArena>> in_arena(const std::byte* data, uint64_t bytes);
  uint64_t from() const { return transport_.registers_from(); }
  Transport& transport() const { return transport_; }

 private:
  void forget_lost_arenas();

  Transport& transport_;
  std::unordered_map<uint32_t, std::vector<InArena>> arenas_;  // by number, which none has twice
};

// What one communicator has registered with one transport. Any thread: another one of the family may make a
// link of this communicator, whose memory it then keeps here.
class CallMemory {
 public:
  CallMemory(Registrations& registrations, const MemoryHints& hints)
      : registrations_(registrations), hints_(hints) {}

  // A call begins whose messages lie in these buffers, perhaps among others.
  void begin(const MemoryRange& input, const MemoryRange& output);
  // It is over, or given up, and nothing of it is under way.
  void end();

  // Memory of the communicator's own, until forget().
  void keep(const MemoryRange& range);
  void forget(const std::byte* data);

  uint64_t from() const { return registrations_.from(); }
  const Transport& transport() const { return registrations_.transport(); }
  // That of a message, made if there is none. Errors: Transport::register_memory()'s.
  Result<const Registration*> of(const std::byte* data, uint64_t bytes);

 private:
  struct Entry {
    MemoryRange range;
    Registrations::Kept registration;  // null: not needed yet
  };
  const Registration* make_wide(const std::byte* data, uint64_t bytes);
  Result<const Registration*> enter(const MemoryRange& range);
  const Registration* enter(const MemoryRange& range, Registrations::Kept registration);

  Registrations& registrations_;
  const MemoryHints& hints_;
  std::mutex mutex_;  // of what follows
  MemoryRange expected_[2];
  std::vector<Entry> call_, kept_;
  std::unordered_map<uint64_t, Registrations::Kept> hinted_;  // by the hint's number
};

}  // namespace comity::engine
