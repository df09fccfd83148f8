#include <algorithm>
#include <iterator>

#include "src/base/hash.h"
#include "src/device/host/arena.h"

namespace comity {

struct PeerArenas::Entry {
  uint64_t nonce;
  uint32_t number;
  SharedMapping mapping;
};

// Open addressing; entries are only ever added, so a probe that meets an empty slot has seen all.
struct PeerArenas::Table {
  explicit Table(size_t slot_count) : slots(slot_count) {}
  size_t first_slot(uint64_t nonce, uint32_t number) const {
    return ((nonce ^ number) * kGoldenRatio >> 32) & (slots.size() - 1);
  }
  void place(const Entry* entry) const {
    size_t slot = first_slot(entry->nonce, entry->number);
    while (slots[slot].load(std::memory_order_relaxed) != nullptr) slot = (slot + 1) & (slots.size() - 1);
    slots[slot].store(entry, std::memory_order_release);
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
  return entry != nullptr ? entry->mapping.data() : nullptr;
}

uint64_t PeerArenas::bytes_of(uint64_t nonce, uint32_t number) const {
  if (nonce == process_nonce()) return RegionTable::instance().bytes_of(number);
  const Entry* entry = lookup(nonce, number);
  return entry != nullptr ? entry->mapping.bytes() : 0;
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
  entries_.push_back(std::unique_ptr<Entry>(new Entry{nonce, number, std::move(mapping)}));
  insert(entries_.back().get());
  return data;
}

// Half full at most.
void PeerArenas::insert(Entry* added) {
  const Table& table = *tables_.back();
  if (entries_.size() * 2 > table.slots.size()) return publish(table.slots.size() * 2);
  table.place(added);
}

// A table of all entries, filled before it is published.
void PeerArenas::publish(size_t slots) {
  tables_.push_back(std::make_unique<Table>(slots));
  for (const auto& entry : entries_) tables_.back()->place(entry.get());
  table_.store(tables_.back().get(), std::memory_order_release);
}

std::vector<uint32_t> PeerArenas::held_of(uint64_t nonce) const {
  const std::lock_guard lock(mutex_);
  std::vector<uint32_t> numbers;
  for (const auto& entry : entries_) {
    if (entry->nonce == nonce) numbers.push_back(entry->number);
  }
  return numbers;
}

void PeerArenas::forget(uint64_t nonce, const std::vector<uint32_t>& numbers) {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const auto& entry) {
    return entry->nonce == nonce && std::find(numbers.begin(), numbers.end(), entry->number) != numbers.end();
  });
  publish(tables_.back()->slots.size());
  tables_.erase(tables_.begin(), std::prev(tables_.end()));
}

}  // namespace comity
