// Where every rank listens, so that the parts of a broken tree find each other: gathered while the ranks
// join, and kept as long as the communicator.
//
// Ranks of one host listen at the same addresses and differ by ports alone: addresses are stored and sent
// once per host, and a rank costs some ten bytes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/socket.h"

namespace comity::control {

class AddressBook {
 public:
  void set(uint32_t rank, const std::vector<SocketAddress>& addresses);
  void add(const AddressBook& other);
  // In the order that the rank gave them; empty: not known.
  std::vector<SocketAddress> of(uint32_t rank) const;
  size_t size() const { return entries_.size(); }

  Bytes encode() const;
  // Takes anything; nothing for what is malformed or names a rank >= `nranks`.
  static std::optional<AddressBook> decode(std::span<const std::byte> bytes, uint32_t nranks);

 private:
  static constexpr uint32_t kMaxAddresses = 64;
  struct Entry {
    uint32_t rank;
    uint32_t host;   // index into hosts_
    uint32_t ports;  // index of the first one in ports_; as many as the host has addresses
  };
  uint32_t host_of(const std::vector<Bytes>& addresses);

  std::vector<std::vector<Bytes>> hosts_;  // encoded, ports zero
  std::map<std::vector<Bytes>, uint32_t> host_index_;
  std::vector<uint16_t> ports_;
  std::vector<Entry> entries_;  // ascending by rank
};

}  // namespace comity::control
