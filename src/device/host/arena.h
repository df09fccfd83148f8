// Arenas: the memory behind MemAlloc, which ranks on one host can map from each other.
//
// An arena is one memfd of at least 256 MiB, mapped shared, sealed against shrinking (so that a peer's load
// cannot fault because the owner truncated it) and without a name: a killed process leaves nothing behind.
// MemAlloc carves from few arenas, so that a peer maps few. A region is an arena or a transport's board
// (SharedRegion): both are numbered by one counter per process that never gives a number twice, and both are
// found by number (export) or address.
//
//   owner:  ArenaPool -> RegionTable: number, range, descriptor
//   peer:   PeerArenas: (nonce, number) -> mapping
//
// handle_of(), base_of() and PeerArenas::find() are on the hot path: wait-free, a few nanoseconds. All else
// may block.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "src/base/fork.h"
#include "src/base/unique_fd.h"
#include "src/device/host/range_allocator.h"

namespace comity {

// This process's random number, never 0, the same for its whole life; with an arena's number it names memory
// on a host. A child of fork() has another one. Any thread; one load.
uint64_t process_nonce();

// A memfd mapped shared, sealed against shrinking and against further seals; the mapping lives as long as it.
class SharedMapping {
 public:
  // `bytes` > 0, rounded up to 2 MiB; pages come when touched and are zero; aligned to 2 MiB. `purpose`
  // stands in /proc/PID/maps. kSystemError names the limit: descriptors, RLIMIT_FSIZE (without the signal
  // SIGXFSZ), addresses.
  static Result<SharedMapping> create(uint64_t bytes, const char* purpose);
  // A mapping of a peer's descriptor, which stays the caller's. kInvalidArgument if it is not a memory file
  // sealed against shrinking: its owner could make this process fault.
  static Result<SharedMapping> import(int fd);

  SharedMapping() = default;
  SharedMapping(SharedMapping&& other) noexcept;
  SharedMapping& operator=(SharedMapping&& other) noexcept;
  // One that was made before a fork stays mapped in the child, where it may be another's place by now.
  ~SharedMapping();

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  // -1 for an imported mapping. Owned by this object.
  int fd() const { return fd_.get(); }
  // Gives the pages back to the system, for every process that maps them; they read as zero afterwards.
  void discard();
  // Children of fork() do not get the mapping: memory through which ranks talk to each other is nothing to
  // them. Imported mappings are kept from them anyway.
  void keep_from_children();

 private:
  SharedMapping(UniqueFd fd, std::byte* data, uint64_t bytes)
      : fd_(std::move(fd)), data_(data), bytes_(bytes), era_(fork_era()) {}
  UniqueFd fd_;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  uint32_t era_ = 0;  // fork_era() when it was mapped
};

// The regions that this process exports. One per process: instance().
class RegionTable {
 public:
  static RegionTable& instance();

  // The handle of [pointer, pointer + bytes) if it lies in one region. Wait-free, any thread.
  std::optional<MemoryHandle> handle_of(const void* pointer, uint64_t bytes) const;
  // Where a region of this process starts; null if there is none of that number (any more). Wait-free, any
  // thread.
  std::byte* base_of(uint32_t number) const;
  // Its size in bytes, or 0. Wait-free, any thread.
  uint64_t bytes_of(uint32_t number) const;
  // A duplicate of the region's descriptor, to be passed to a peer; kInvalidArgument if there is none of that
  // number. Any thread; blocks.
  Result<UniqueFd> descriptor_of(uint32_t number) const;

  // Publishes a mapping, which must stay until remove(number). kSystemError when kMaxRegions are there.
  Result<uint32_t> add(const SharedMapping& mapping);
  void remove(uint32_t number);
  // In a child of fork(): what it inherited is its parent's to export.
  void forget_all();

  static constexpr uint32_t kMaxRegions = 4096;

 private:
  // Never changed once published and never freed, so that readers need no lock: some 50 bytes per region ever
  // made.
  struct Region {
    uintptr_t begin;
    uintptr_t end;
    uint32_t number;
    int fd;
  };
  const Region* find(uint32_t number) const;

  std::atomic<const Region*> slots_[kMaxRegions] = {};
  std::atomic<uint32_t> slots_used_{0};  // slots at and beyond it are empty
  // The rest under ProcessLock::kRegions: writers, and readers of descriptors.
  std::vector<std::unique_ptr<const Region>> ever_;
  uint32_t next_number_ = 1;
};

// What MemAlloc allocates from. instance() is the process's; tests make their own.
class ArenaPool {
 public:
  struct Options {
    uint64_t cap_bytes = 0;                      // 0: COMITY_ARENA_CAP, read at each growth
    uint64_t arena_bytes = uint64_t{256} << 20;  // least size of a new arena
  };
  static ArenaPool& instance();
  ArenaPool() : ArenaPool(Options()) {}
  explicit ArenaPool(Options options) : options_(options) {}
  // Allocations that are left must not be used any more.
  ~ArenaPool();
  ArenaPool(const ArenaPool&) = delete;
  ArenaPool& operator=(const ArenaPool&) = delete;

  // `bytes` > 0; aligned to 128, from 2 MiB up to 2 MiB. From 4 MiB up the pages are touched here, about a
  // second per GiB when they are new, and made huge where the system can. The content is undefined. Any
  // thread; blocks. kSystemError: over the cap, or the system refused; nothing has changed then.
  Result<void*> allocate(uint64_t bytes);
  // kInvalidArgument if `pointer` is not an allocation of this pool. Of wholly free arenas one is kept; the
  // pages of others go back to the system even where peers map them. Any thread; blocks.
  Status release(void* pointer);
  // Whether `pointer` came from allocate() and was not released. Any thread; blocks.
  bool allocated(const void* pointer) const;
  // In a child of fork() the memory that was there before stays mapped, shared with the parent as memory of
  // mmap's MAP_SHARED is: it is the parent's, so nothing more is carved from it, it does not count against
  // the cap, and release() takes it and leaves it as it is.

  uint64_t arena_count() const;
  // Sum of the arenas' sizes: what the cap limits.
  uint64_t held_bytes() const;

 private:
  struct Arena {
    SharedMapping mapping;
    uint32_t number;
    RangeAllocator ranges;
    uint64_t allocations = 0;
  };
  struct Place {
    Arena* arena;
    uint64_t offset;
    uint64_t bytes;
  };
  void leave_to_parent();
  std::optional<Place> place(uint64_t bytes, uint64_t alignment);
  Result<Arena*> grow(uint64_t bytes);
  void drop_spare_arenas(uint64_t keep);

  const Options options_;
  // The rest under ProcessLock::kArenas.
  uint32_t era_ = fork_era();
  std::vector<std::unique_ptr<Arena>> arenas_;
  std::unordered_map<const void*, Place> places_;
  uint64_t held_bytes_ = 0;
  std::unordered_set<const void*> inherited_;
};

// A region for a transport's own use (boards, rings), exported under the same numbering. Zero at first.
class SharedRegion {
 public:
  // `bytes` > 0, rounded up to 2 MiB. Errors as SharedMapping::create and RegionTable::add.
  static Result<SharedRegion> create(uint64_t bytes, const char* purpose);
  SharedRegion() = default;
  SharedRegion(SharedRegion&& other) noexcept;
  SharedRegion& operator=(SharedRegion&& other) noexcept;
  // Withdraws it; peers that have mapped it keep their mapping and its content.
  ~SharedRegion();

  std::byte* data() const { return mapping_.data(); }
  uint64_t bytes() const { return mapping_.bytes(); }
  // The number by which RegionTable::descriptor_of() and a peer's PeerArenas::map() know it.
  uint32_t number() const { return number_; }

 private:
  SharedMapping mapping_;
  uint32_t number_ = 0;
};

// Mappings of other processes' regions. A communicator or transport owns one; what it returns lives until
// forget() or its end. Regions of this very process are not mapped twice: their own mapping is returned, as
// threads must share one.
class PeerArenas {
 public:
  PeerArenas();
  ~PeerArenas();
  PeerArenas(const PeerArenas&) = delete;
  PeerArenas& operator=(const PeerArenas&) = delete;

  // Where (nonce, number) is mapped; null if map() was not called for it. For this process's own nonce: null
  // only if there is no such region. Wait-free, any thread.
  std::byte* find(uint64_t nonce, uint32_t number) const;
  // How many bytes find() leads to; 0 where it gives null. For checking a peer's handle. Wait-free, any
  // thread.
  uint64_t bytes_of(uint64_t nonce, uint32_t number) const;
  // Maps the region behind `fd` (which stays the caller's) and returns its start; the same as find() if it is
  // mapped already. Errors as SharedMapping::import; for this process's own nonce `fd` is not looked at. Any
  // thread; blocks.
  Result<std::byte*> map(uint64_t nonce, uint32_t number, int fd);
  // The numbers that are mapped of a process. Any thread; blocks.
  std::vector<uint32_t> held_of(uint64_t nonce) const;
  // Unmaps these of a process (it gave them back, or ended), and keeps nothing of them. The caller guarantees
  // that nothing uses them, and that nobody else is in a method of this object.
  void forget(uint64_t nonce, const std::vector<uint32_t>& numbers);

 private:
  struct Entry;
  struct Table;
  const Entry* lookup(uint64_t nonce, uint32_t number) const;
  void insert(Entry* added);
  void publish(size_t slots);

  std::atomic<const Table*> table_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<std::unique_ptr<Table>> tables_;  // the last is in use; earlier ones may still have readers
};

}  // namespace comity
