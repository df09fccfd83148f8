// Where every rank listens, so that the parts of a broken tree find each other, and which process it is, so
// that its neighbours on the machine hear of its end: gathered while the ranks join, and kept as long as the
// communicator.
//
// Ranks of one host listen at the same addresses and differ by ports alone: addresses are stored and sent
// once per host, and a rank costs some twenty bytes.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/socket.h"
#include "src/control/process_name.h"

namespace comity::control {

class AddressBook {
 public:
  void set(uint32_t rank, const std::vector<SocketAddress>& addresses, const ProcessName& process = {});
  void add(const AddressBook& other);
  // In the order that the rank gave them; empty: not known.
  std::vector<SocketAddress> of(uint32_t rank) const;
  // ProcessName{} if that is not known.
  ProcessName process_of(uint32_t rank) const;
  // The first rank after `rank`, around, that is another process where its own can be watched.
  std::optional<uint32_t> neighbour_of(uint32_t rank) const;
  size_t size() const { return entries_.size(); }

  Bytes encode() const;
  // Takes anything; nothing for what is malformed or names a rank >= `nranks`.
  static std::optional<AddressBook> decode(std::span<const std::byte> bytes, uint32_t nranks);
  // What it occupies, itself included.
  size_t memory_bytes() const;

 private:
  static constexpr uint32_t kMaxAddresses = 64;
  struct Entry {
    uint32_t rank;
    uint32_t host;   // index into hosts_
    uint32_t ports;  // index of the first one in ports_; as many as the host has addresses
    uint32_t pid;
    uint32_t started;
  };
  struct Host {
    std::vector<Bytes> addresses;  // encoded, ports zero
    uint64_t space;                // of its processes
    auto operator<=>(const Host&) const = default;
  };
  uint32_t host_of(const Host& host);
  const Entry* find(uint32_t rank) const;
  ProcessName process_of(const Entry& entry) const;

  std::vector<Host> hosts_;
  std::map<Host, uint32_t> host_index_;
  std::vector<uint16_t> ports_;
  std::vector<Entry> entries_;  // ascending by rank
};

// The books of whole communicators, decoded once for all of their ranks that share this memory. Control
// thread only; for Loop::common_part().
class CommonBooks {
 public:
  // As AddressBook::decode(); null for what is malformed.
  std::shared_ptr<const AddressBook> decode(uint64_t communicator, std::span<const std::byte> bytes,
                                            uint32_t nranks);

 private:
  struct Known {
    uint64_t bytes_hash = 0;
    size_t bytes = 0;
    std::weak_ptr<const AddressBook> book;
  };
  std::map<uint64_t, Known> known_;
};

}  // namespace comity::control
