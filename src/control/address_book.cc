#include "src/control/address_book.h"

#include <algorithm>

namespace comity::control {
namespace {

constexpr size_t kAddressBytes = 28;

}  // namespace

uint32_t AddressBook::host_of(const std::vector<Bytes>& addresses) {
  const auto [found, is_new] = host_index_.try_emplace(addresses, static_cast<uint32_t>(hosts_.size()));
  if (is_new) hosts_.push_back(addresses);
  return found->second;
}

void AddressBook::set(uint32_t rank, const std::vector<SocketAddress>& addresses) {
  std::vector<Bytes> portless;
  const Entry entry{rank, 0, static_cast<uint32_t>(ports_.size())};
  for (SocketAddress address : addresses) {
    if (portless.size() == kMaxAddresses) break;
    ports_.push_back(address.port());
    address.set_port(0);
    portless.push_back(address.encode());
  }
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), rank,
                                   [](const Entry& have, uint32_t wanted) { return have.rank < wanted; });
  const bool known = at != entries_.end() && at->rank == rank;
  const auto place = known ? at : entries_.insert(at, entry);
  *place = entry;
  place->host = host_of(portless);
}

void AddressBook::add(const AddressBook& other) {
  for (const Entry& entry : other.entries_) set(entry.rank, other.of(entry.rank));
}

std::vector<SocketAddress> AddressBook::of(uint32_t rank) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), rank,
                                   [](const Entry& have, uint32_t wanted) { return have.rank < wanted; });
  std::vector<SocketAddress> addresses;
  if (at == entries_.end() || at->rank != rank) return addresses;
  uint32_t port = at->ports;
  for (const Bytes& bytes : hosts_[at->host]) {
    auto address = SocketAddress::decode(bytes.data(), bytes.size());
    const uint16_t its_port = ports_[port++];
    if (!address.ok()) continue;
    address->set_port(its_port);
    addresses.push_back(*address);
  }
  return addresses;
}

Bytes AddressBook::encode() const {
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(hosts_.size()));
  for (const auto& host : hosts_) {
    writer.put(static_cast<uint8_t>(host.size()));
    for (const Bytes& address : host) writer.put_blob(address);
  }
  writer.put(static_cast<uint32_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    writer.put(entry.rank).put(entry.host);
    for (size_t i = 0; i < hosts_[entry.host].size(); ++i) writer.put(ports_[entry.ports + i]);
  }
  return writer.take();
}

std::optional<AddressBook> AddressBook::decode(std::span<const std::byte> bytes, uint32_t nranks) {
  ByteReader reader(bytes);
  AddressBook book;
  // Nothing is reserved by a stranger's number: it must cost its own bytes first.
  const auto hosts = reader.get<uint32_t>();
  for (uint32_t i = 0; i < hosts && reader.ok(); ++i) {
    std::vector<Bytes> host;
    const auto count = reader.get<uint8_t>();
    if (count > kMaxAddresses) return std::nullopt;
    for (uint8_t k = 0; k < count; ++k) {
      const auto blob = reader.get_blob();
      if (blob.size() != kAddressBytes || !SocketAddress::decode(blob.data(), blob.size()).ok())
        return std::nullopt;
      host.emplace_back(blob.begin(), blob.end());
    }
    if (!book.host_index_.try_emplace(host, i).second) return std::nullopt;
    book.hosts_.push_back(std::move(host));
  }
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    Entry entry{reader.get<uint32_t>(), reader.get<uint32_t>(), static_cast<uint32_t>(book.ports_.size())};
    if (entry.rank >= nranks || entry.host >= book.hosts_.size()) return std::nullopt;
    if (!book.entries_.empty() && entry.rank <= book.entries_.back().rank) return std::nullopt;
    for (size_t k = 0; k < book.hosts_[entry.host].size(); ++k) book.ports_.push_back(reader.get<uint16_t>());
    book.entries_.push_back(entry);
  }
  return reader.at_end() ? std::optional(std::move(book)) : std::nullopt;
}

}  // namespace comity::control
