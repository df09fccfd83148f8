// One rank's side of a group call whose blocks have lengths that only two members are told each: fills
// buffers, names them as pieces, and checks what came out.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "comity/plugin/transport.h"

namespace comity::test {

// lengths[s][r]: bytes from member s to member r. Of gather_v column `root` is used, of scatter_v row `root`.
using PairLengthsOf = std::vector<std::vector<uint64_t>>;

// Zero, one, odd, prime and long, each in some pairs: from `longest` on down.
PairLengthsOf random_lengths(uint32_t nranks, uint64_t longest, std::mt19937_64& random);

struct VaryingRow {
  Collective collective = Collective::kAllToAllV;
  uint32_t root = 0;
  PairLengthsOf lengths;
  bool registered = false;  // MemAlloc's memory; else malloc's
  bool in_place = false;    // gather_v and scatter_v: at the root
  uint64_t gap = 0;         // bytes between blocks, which nobody may touch
  uint64_t number = 0;      // of the call: its content and its signature
};

class VaryingBuffers {
 public:
  VaryingBuffers(const VaryingRow& row, uint32_t rank);
  ~VaryingBuffers();
  VaryingBuffers(const VaryingBuffers&) = delete;
  VaryingBuffers& operator=(const VaryingBuffers&) = delete;

  GroupCall& call() { return call_; }
  // What is wrong with the output or with the bytes between blocks; empty: nothing.
  std::string wrong() const;

 private:
  std::vector<Piece> allocate(const std::vector<uint64_t>& lengths);
  std::byte content(uint32_t from, uint32_t to, uint64_t i) const;

  VaryingRow row_;
  uint32_t rank_;
  std::vector<std::pair<std::byte*, uint64_t>> memory_;
  std::vector<std::vector<std::byte>> plain_;
  std::vector<Piece> src_, dst_;
  GroupCall call_;
};

}  // namespace comity::test
