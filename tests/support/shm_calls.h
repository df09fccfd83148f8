// One rank's side of a group call on real buffers: fills them, names them as pieces, and checks what came
// out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/transport.h"
#include "tests/support/pattern.h"

namespace comity::test {

// All that a provider carries out; the last moves nothing.
inline constexpr Collective kGroupCollectives[] = {
    Collective::kAllReduce, Collective::kReduce,        Collective::kBroadcast,
    Collective::kAllGather, Collective::kReduceScatter, Collective::kAllToAll,
    Collective::kGather,    Collective::kScatter,       Collective::kBarrier};

enum class BufferKind : uint8_t {
  kPlain,       // malloc's, off any alignment but the element's
  kRegistered,  // MemAlloc's
  kScattered,   // plain, and every block somewhere else
};
std::string name_of(BufferKind kind);

class CallBuffers {
 public:
  CallBuffers(const Row& row, uint32_t rank, BufferKind kind);
  ~CallBuffers();
  CallBuffers(const CallBuffers&) = delete;
  CallBuffers& operator=(const CallBuffers&) = delete;

  const GroupCall& call() const { return call_; }
  // What is wrong with the output or with the bytes around it; empty: nothing.
  std::string check() const;

 private:
  std::byte* allocate(uint64_t bytes);
  void cut(const std::vector<std::byte*>& blocks, uint64_t bytes, std::vector<Piece>& pieces) const;

  Row row_;
  uint32_t rank_;
  BufferKind kind_;
  std::vector<std::byte*> registered_;
  std::vector<std::vector<std::byte>> plain_;
  std::vector<std::pair<std::byte*, uint64_t>> guarded_;
  std::vector<Piece> src_;
  std::vector<Piece> dst_;
  GroupCall call_;
};

// Equal on all members, different for different rows.
uint64_t signature_of(const Row& row, uint64_t number);

}  // namespace comity::test
