// The collective operations of the control tree: all-gather of bytes, and comparison of one hash.
//
// Both go up once and down once. Operations are numbered by `sequence`, from 1, in the order that every rank
// calls them; a child can be at most one operation ahead of its parent, so at most two are open at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/control/messages.h"
#include "src/control/tree_port.h"

namespace comity::control {

struct GatherResult {
  bool equal = false;                 // of a comparison, and with it:
  uint64_t lowest = 0;                // the least number
  std::array<uint64_t, 2> balance{};  // the sums
  std::vector<Bytes> items;           // of an all-gather, by rank
};

class Gathering {
 public:
  using Done = std::function<void(uint64_t sequence, GatherResult result)>;
  // `done` is called once for each operation that completes. Control thread only.
  Gathering(TreePort& port, Done done) : port_(port), done_(std::move(done)) {}

  // This rank's part in operation `sequence`, which is the next one.
  void begin_gather(uint64_t sequence, Bytes mine);
  void begin_compare(uint64_t sequence, const std::array<std::byte, 32>& mine);

  // Messages of neighbours; false: it is malformed or cannot be, and the sender is to be held at fault.
  bool on_gather_up(uint32_t child, std::span<const std::byte> payload);
  bool on_gather_down(std::span<const std::byte> payload);
  bool on_agree_up(uint32_t child, std::span<const std::byte> payload);
  bool on_agree_down(std::span<const std::byte> payload);

  // Whom operation `sequence` waits for, for people: "the subtrees of ranks 1, 4", or "rank 0".
  std::string waiting_for(uint64_t sequence) const;

 private:
  enum class Kind { kUnknown, kGather, kCompare };
  struct Operation {
    Kind kind = Kind::kUnknown;
    bool begun = false;                 // this rank called it
    std::map<uint32_t, bool> children;  // who delivered
    std::map<uint32_t, Bytes> items;
    std::array<std::byte, 32> hash{};
    bool equal = true;
    std::vector<std::array<std::byte, 32>> hashes;  // of children that came before this rank
  };
  Operation* accept_up(uint32_t child, uint64_t sequence, Kind kind);
  Operation& begin(uint64_t sequence, Kind kind);
  void advance(uint64_t sequence);
  void finish_gather(std::span<const std::byte> payload, Gathered gathered);
  bool complete(const Operation& operation) const;
  bool fits(const Operation& operation);

  TreePort& port_;
  Done done_;
  std::map<uint64_t, Operation> open_;
  uint64_t begun_ = 0;     // last sequence this rank called
  uint64_t finished_ = 0;  // last sequence answered
};

}  // namespace comity::control
