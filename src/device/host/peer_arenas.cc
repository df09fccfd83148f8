#include <cassert>

#include "src/base/hash.h"
#include "src/device/host/arena.h"

namespace comity {

struct PeerArenas::Entry {
  uint64_t nonce;
  uint32_t number;
  std::atomic<std::byte*> data;  // null once forgotten
  SharedMapping mapping;
};

// Open addressing; entries are only ever added, so a probe that meets an empty slot has seen all.
struct PeerArenas::Table {
  explicit Table(size_t slot_count) : slots(slot_count) {}
  size_t first_slot(uint64_t nonce, uint32_t number) const {
    return ((nonce ^ number) * kGoldenRatio >> 32) & (slots.size() - 1);
  }
  mutable std::vector<std::atomic<const Entry*>> slots;  // a power of two of them
};

PeerArenas::PeerArenas() {
  tables_.push_back(std::make_unique<Table>(64));
  table_.store(tables_.back().get(), std::memory_order_release);
}

PeerArenas::~PeerArenas() = default;

const PeerArenas::Entry* PeerArenas::lookup(uint64_t nonce, uint32_t number) const {
  const Table& table = *table_.load(std::memory_order_acquire);
  const size_t mask = table.slots.size() - 1;
  for (size_t slot = table.first_slot(nonce, number);; slot = (slot + 1) & mask) {
    const Entry* entry = table.slots[slot].load(std::memory_order_acquire);
    if (entry == nullptr || (entry->nonce == nonce && entry->number == number)) return entry;
  }
}

std::byte* PeerArenas::find(uint64_t nonce, uint32_t number) const {
  if (nonce == process_nonce()) return RegionTable::instance().base_of(number);
  const Entry* entry = lookup(nonce, number);
  return entry != nullptr ? entry->data.load(std::memory_order_acquire) : nullptr;
}

uint64_t PeerArenas::bytes_of(uint64_t nonce, uint32_t number) const {
  if (nonce == process_nonce()) return RegionTable::instance().bytes_of(number);
  const Entry* entry = lookup(nonce, number);
  const bool mapped = entry != nullptr && entry->data.load(std::memory_order_acquire) != nullptr;
  return mapped ? entry->mapping.bytes() : 0;
}

Result<std::byte*> PeerArenas::map(uint64_t nonce, uint32_t number, int fd) {
  const std::lock_guard lock(mutex_);
  if (std::byte* known = find(nonce, number)) return known;
  if (nonce == process_nonce()) {
    return Status(Code::kInvalidArgument, "this process has no shared memory of number " +
                                              std::to_string(number) + "; it was freed or never was");
  }
  COMITY_ASSIGN_OR_RETURN(SharedMapping mapping, SharedMapping::import(fd));
  std::byte* data = mapping.data();
  if (const Entry* forgotten = lookup(nonce, number)) {
    for (const auto& entry : entries_) {
      if (entry.get() != forgotten) continue;
      entry->mapping = std::move(mapping);
      entry->data.store(data, std::memory_order_release);
      break;
    }
    return data;
  }
  entries_.push_back(std::unique_ptr<Entry>(new Entry{nonce, number, data, std::move(mapping)}));
  insert(entries_.back().get());
  return data;
}

// Half full at most. A larger table is filled before it is published.
void PeerArenas::insert(Entry* added) {
  Table* table = tables_.back().get();
  const auto place = [](Table& into, const Entry* entry) {
    size_t slot = into.first_slot(entry->nonce, entry->number);
    while (into.slots[slot].load(std::memory_order_relaxed) != nullptr)
      slot = (slot + 1) & (into.slots.size() - 1);
    into.slots[slot].store(entry, std::memory_order_release);
  };
  if (entries_.size() * 2 <= table->slots.size()) {
    place(*table, added);
    return;
  }
  tables_.push_back(std::make_unique<Table>(table->slots.size() * 2));
  for (const auto& entry : entries_) place(*tables_.back(), entry.get());
  table_.store(tables_.back().get(), std::memory_order_release);
}

void PeerArenas::forget(uint64_t nonce) {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : entries_) {
    if (entry->nonce != nonce) continue;
    entry->data.store(nullptr, std::memory_order_release);
    entry->mapping = SharedMapping();
  }
}

}  // namespace comity
