#include "src/control/address_book.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "src/base/hash.h"

namespace comity::control {
namespace {

constexpr size_t kAddressBytes = 28;

// Of bytes whose sender is proven: it tells two books apart, and withstands nobody.
uint64_t hash_words(std::span<const std::byte> bytes) {
  std::array<uint64_t, 4> lanes{1, 2, 3, 4};  // side by side, as each step waits for the one before
  std::array<uint64_t, 4> words{};
  while (bytes.size() >= sizeof(words)) {
    std::memcpy(words.data(), bytes.data(), sizeof(words));
    for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = mix(lanes[i] ^ words[i]);
    bytes = bytes.subspan(sizeof(words));
  }
  Fnv rest;
  for (const std::byte byte : bytes) rest.byte(static_cast<uint8_t>(byte));
  return mix(mix(lanes[0], lanes[1]), mix(mix(lanes[2], lanes[3]), rest.value()));
}

}  // namespace

uint32_t AddressBook::host_of(const Host& host) {
  const auto [found, is_new] = host_index_.try_emplace(host, static_cast<uint32_t>(hosts_.size()));
  if (is_new) hosts_.push_back(host);
  return found->second;
}

void AddressBook::set(uint32_t rank, const std::vector<SocketAddress>& addresses,
                      const ProcessName& process) {
  Host host{{}, process.space};
  Entry entry{rank, 0, static_cast<uint32_t>(ports_.size()), process.pid, process.started};
  for (SocketAddress address : addresses) {
    if (host.addresses.size() == kMaxAddresses) break;
    ports_.push_back(address.port());
    address.set_port(0);
    host.addresses.push_back(address.encode());
  }
  entry.host = host_of(host);
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), rank,
                                   [](const Entry& have, uint32_t wanted) { return have.rank < wanted; });
  if (at != entries_.end() && at->rank == rank) {
    *at = entry;
  } else {
    entries_.insert(at, entry);
  }
}

// In one pass: books of subtrees interleave, and the root's are large.
void AddressBook::add(const AddressBook& other) {
  std::vector<uint32_t> host_here;
  for (const Host& host : other.hosts_) host_here.push_back(host_of(host));
  const auto ports_before = static_cast<uint32_t>(ports_.size());
  ports_.insert(ports_.end(), other.ports_.begin(), other.ports_.end());
  std::vector<Entry> merged;
  merged.reserve(entries_.size() + other.entries_.size());
  auto mine = entries_.begin();
  for (Entry entry : other.entries_) {
    while (mine != entries_.end() && mine->rank < entry.rank) merged.push_back(*mine++);
    if (mine != entries_.end() && mine->rank == entry.rank) ++mine;
    entry.host = host_here[entry.host];
    entry.ports += ports_before;
    merged.push_back(entry);
  }
  merged.insert(merged.end(), mine, entries_.end());
  entries_ = std::move(merged);
}

const AddressBook::Entry* AddressBook::find(uint32_t rank) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), rank,
                                   [](const Entry& have, uint32_t wanted) { return have.rank < wanted; });
  return at == entries_.end() || at->rank != rank ? nullptr : &*at;
}

std::vector<SocketAddress> AddressBook::of(uint32_t rank) const {
  std::vector<SocketAddress> addresses;
  const Entry* entry = find(rank);
  if (entry == nullptr) return addresses;
  uint32_t port = entry->ports;
  for (const Bytes& bytes : hosts_[entry->host].addresses) {
    auto address = SocketAddress::decode(bytes.data(), bytes.size());
    const uint16_t its_port = ports_[port++];
    if (!address.ok()) continue;
    address->set_port(its_port);
    addresses.push_back(*address);
  }
  return addresses;
}

ProcessName AddressBook::process_of(const Entry& entry) const {
  return ProcessName{hosts_[entry.host].space, entry.pid, entry.started};
}

ProcessName AddressBook::process_of(uint32_t rank) const {
  const Entry* entry = find(rank);
  return entry == nullptr ? ProcessName{} : process_of(*entry);
}

std::optional<uint32_t> AddressBook::neighbour_of(uint32_t rank) const {
  const Entry* own = find(rank);
  const ProcessName self = process_of(rank);
  if (own == nullptr || self.space == 0) return std::nullopt;
  const auto mine = static_cast<size_t>(own - entries_.data());
  for (size_t i = 1; i < entries_.size(); ++i) {
    const Entry& other = entries_[(mine + i) % entries_.size()];
    const ProcessName process = process_of(other);
    if (process.space == self.space && process != self) return other.rank;
  }
  return std::nullopt;
}

Bytes AddressBook::encode() const {
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(hosts_.size()));
  for (const auto& host : hosts_) {
    writer.put(host.space).put(static_cast<uint8_t>(host.addresses.size()));
    for (const Bytes& address : host.addresses) writer.put_blob(address);
  }
  writer.put(static_cast<uint32_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    writer.put(entry.rank).put(entry.host).put(entry.pid).put(entry.started);
    for (size_t i = 0; i < hosts_[entry.host].addresses.size(); ++i) writer.put(ports_[entry.ports + i]);
  }
  return writer.take();
}

std::optional<AddressBook> AddressBook::decode(std::span<const std::byte> bytes, uint32_t nranks) {
  ByteReader reader(bytes);
  AddressBook book;
  // Nothing is reserved by a stranger's number: it must cost its own bytes first.
  const auto hosts = reader.get<uint32_t>();
  for (uint32_t i = 0; i < hosts && reader.ok(); ++i) {
    Host host{{}, reader.get<uint64_t>()};
    const auto count = reader.get<uint8_t>();
    if (count > kMaxAddresses) return std::nullopt;
    for (uint8_t k = 0; k < count; ++k) {
      const auto blob = reader.get_blob();
      if (blob.size() != kAddressBytes || !SocketAddress::decode(blob.data(), blob.size()).ok())
        return std::nullopt;
      host.addresses.emplace_back(blob.begin(), blob.end());
    }
    if (!book.host_index_.try_emplace(host, i).second) return std::nullopt;
    book.hosts_.push_back(std::move(host));
  }
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    const auto rank = reader.get<uint32_t>();
    const auto host = reader.get<uint32_t>();
    const auto pid = reader.get<uint32_t>();
    const Entry entry{rank, host, static_cast<uint32_t>(book.ports_.size()), pid, reader.get<uint32_t>()};
    if (entry.rank >= nranks || entry.host >= book.hosts_.size()) return std::nullopt;
    if (!book.entries_.empty() && entry.rank <= book.entries_.back().rank) return std::nullopt;
    for (size_t k = 0; k < book.hosts_[entry.host].addresses.size(); ++k)
      book.ports_.push_back(reader.get<uint16_t>());
    book.entries_.push_back(entry);
  }
  if (!reader.at_end()) return std::nullopt;
  book.ports_.shrink_to_fit();  // it is kept, and grows no more
  book.entries_.shrink_to_fit();
  return book;
}

size_t AddressBook::memory_bytes() const {
  size_t bytes = sizeof(*this) + ports_.capacity() * sizeof(uint16_t) + entries_.capacity() * sizeof(Entry);
  constexpr size_t kMapNodeBytes = 4 * sizeof(void*);
  for (const Host& host : hosts_) {
    const size_t addresses = host.addresses.size() * (sizeof(Bytes) + kAddressBytes);
    bytes += 2 * (sizeof(Host) + addresses) + kMapNodeBytes + sizeof(uint32_t);  // in hosts_ and host_index_
  }
  return bytes;
}

std::shared_ptr<const AddressBook> CommonBooks::decode(uint64_t communicator,
                                                       std::span<const std::byte> bytes, uint32_t nranks) {
  Known& known = known_[communicator];
  const uint64_t hash = hash_words(bytes);
  if (auto book = known.book.lock(); book && known.bytes == bytes.size() && known.bytes_hash == hash)
    return book;
  auto decoded = AddressBook::decode(bytes, nranks);
  if (!decoded) return nullptr;
  const auto book = std::make_shared<const AddressBook>(std::move(*decoded));
  known = Known{hash, bytes.size(), book};
  std::erase_if(known_, [](const auto& each) { return each.second.book.expired(); });
  return book;
}

}  // namespace comity::control
