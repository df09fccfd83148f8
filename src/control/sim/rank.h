// A rank of a communicator in a simulated process: its node, as a Session has it, without waiting.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/control/node.h"
#include "src/control/sim/world.h"

namespace comity::control::sim {

class Rank {
 public:
  // `rank` of `nranks` in `process` of the world, which must outlive it. join() begins to join.
  Rank(World& world, uint32_t process, uint32_t rank, uint32_t nranks, const IdContent& id,
       Deadline deadline);
  void join();
  void give_up(const Status& why);
  // Nothing while it joins.
  std::optional<Status> joined() const;
  bool stands() const { return joined() && joined()->ok(); }
  const Verdict* verdict() const { return scope().verdict.load(); }
  // "" without one.
  std::string verdict_text() const { return verdict() == nullptr ? "" : verdict()->message; }

  // Each begins a collective operation; its outcome is taken once it is there.
  uint64_t gather(const Bytes& mine);
  uint64_t compare(const std::array<std::byte, 32>& hash);
  std::optional<GatherResult> result(uint64_t sequence);

  CallLog& calls() { return node_->base()->calls; }
  WaitingFor& waiting() { return node_->base()->waiting; }
  void report(uint64_t number) { node_->report(node_->base(), number, number); }
  void report_waiting();
  void declare(Code code, const std::string& text);
  void begin_work();
  void leave(bool orderly);
  // Its user need not wait any more.
  bool gone() const;

  uint32_t process() const { return process_; }
  uint32_t rank() const { return node_->rank(); }
  Node& node() { return *node_; }
  const std::shared_ptr<Node>& shared_node() const { return node_; }
  Loop& loop() { return world_.loop(process_); }

 private:
  const Scope& scope() const { return *node_->base(); }

  World& world_;
  const uint32_t process_;
  std::shared_ptr<Node> node_;
  uint64_t sequence_ = 0;
};

// A communicator whose rank r is in process r, and whose meeting point is in process 0 from the start. When
// it ends, all processes are isolated and their nodes leave, so that it is the last that its world does.
class Communicator {
 public:
  Communicator(World& world, uint32_t nranks, uint64_t within_ms = 30'000);
  ~Communicator();
  // Ends it, as the destructor does. Returns how many sockets are still watched, and nodes held, when all
  // have finished: none, or something is never closed.
  size_t end();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  Rank& operator[](uint32_t rank) { return *ranks_[rank]; }
  uint32_t size() const { return static_cast<uint32_t>(ranks_.size()); }
  const IdContent& id() const { return id_; }
  // All begin to join, each within `spread_ms` of now.
  void join(uint64_t spread_ms = 5);
  // join(), and whether all stand within `ms`.
  bool join_all(uint64_t ms = 30'000);
  // One more rank of it, in a process of its own or another one's, which joins with the others or not at all.
  Rank& add(uint32_t process, uint32_t rank, uint32_t nranks, uint64_t within_ms = 30'000);

 private:
  World& world_;
  IdContent id_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  bool ended_ = false;
};

}  // namespace comity::control::sim
