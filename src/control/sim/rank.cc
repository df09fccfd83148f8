#include "src/control/sim/rank.h"

#include <algorithm>
#include <utility>

#include "src/control/meeting.h"

namespace comity::control::sim {
namespace {

constexpr uint64_t kFinishWithinMs = 600'000;  // longer than any patience of the control plane

}  // namespace

Rank::Rank(World& world, uint32_t process, uint32_t rank, uint32_t nranks, const IdContent& id,
           Deadline deadline)
    : world_(world), process_(process) {
  Node::Options options;
  options.rank = rank;
  options.nranks = nranks;
  options.id = id;
  options.deadline = deadline;
  node_ = std::make_shared<Node>(world.loop(process), std::move(options));
}

void Rank::join() {
  const auto listeners = std::make_shared<Listeners>();
  if (node_->nranks() > 1) *listeners = world_.listen(process_);
  loop().post([node = node_, listeners] { node->start(std::move(*listeners)); });
}

void Rank::give_up(const Status& why) {
  loop().post([node = node_, why] { node->give_up(why); });
}

std::optional<Status> Rank::joined() const {
  Node::Waits& waits = node_->waits();
  const std::lock_guard<std::mutex> lock(waits.mutex);
  return waits.joined;
}

uint64_t Rank::gather(const Bytes& mine) {
  const uint64_t sequence = ++sequence_;
  loop().post([node = node_, sequence, mine] { node->gathering().begin_gather(sequence, mine); });
  return sequence;
}

uint64_t Rank::compare(const std::array<std::byte, 32>& hash) {
  const uint64_t sequence = ++sequence_;
  loop().post([node = node_, sequence, hash] { node->gathering().begin_compare(sequence, hash); });
  return sequence;
}

std::optional<GatherResult> Rank::result(uint64_t sequence) {
  const std::lock_guard<std::mutex> lock(node_->waits().mutex);
  auto taken = node_->base()->results.extract(sequence);
  if (taken.empty()) return std::nullopt;
  return std::move(taken.mapped());
}

void Rank::report_waiting() {
  loop().post([node = node_, id = scope().id] { node->ring_search().report(id); });
}

void Rank::declare(Code code, const std::string& text) {
  loop().post([node = node_, id = scope().id, code, text] { node->declare_fault(id, code, text); });
}

void Rank::begin_work() {
  loop().post([node = node_] { node->begin_work(); });
}

void Rank::leave(bool orderly) {
  loop().post([node = node_, orderly] { node->leave(node->base(), orderly); });
}

bool Rank::gone() const {
  const std::lock_guard<std::mutex> lock(node_->waits().mutex);
  return scope().gone;
}

// --- Communicator ----------------------------------------------------------------------------------------

Communicator::Communicator(World& world, uint32_t nranks, uint64_t within_ms) : world_(world) {
  Listeners listeners = world.listen(0);
  world.loop(0).fill(id_.secret.data(), id_.secret.size());
  id_.addresses = listeners.addresses;
  const auto carried = std::make_shared<Listeners>(std::move(listeners));
  Loop& loop = world.loop(0);
  loop.post(
      [&loop, carried, secret = id_.secret] { Meeting::open(loop, std::move(carried->sockets), secret); });
  for (uint32_t rank = 0; rank < nranks; ++rank) add(rank, rank, nranks, within_ms);
}

Rank& Communicator::add(uint32_t process, uint32_t rank, uint32_t nranks, uint64_t within_ms) {
  const Deadline deadline = Deadline::after_ms(within_ms, world_.loop(process));
  const uint32_t before = world_.turn_to(process);
  ranks_.push_back(std::make_unique<Rank>(world_, process, rank, nranks, id_, deadline));
  world_.turn_to(before);
  return *ranks_.back();
}

Communicator::~Communicator() {
  end();
}

size_t Communicator::end() {
  if (std::exchange(ended_, true)) return 0;
  world_.isolate_all();
  world_.loop(0).post([&loop = world_.loop(0), secret = id_.secret] {
    Meeting::close_if_here(loop, communicator_id_of(secret));
  });
  for (const auto& rank : ranks_) rank->leave(true);
  world_.run_for_ms(kFinishWithinMs);
  size_t left = world_.watches();
  for (const auto& rank : ranks_) left += rank->shared_node().use_count() > 1 ? 1 : 0;
  return left;
}

void Communicator::join(uint64_t spread_ms) {
  for (const auto& rank : ranks_) {
    const uint64_t at_ns = world_.now_ns() + world_.random().up_to(spread_ms * 1'000'000u);
    world_.at(at_ns, [rank = rank.get()] { rank->join(); });
  }
}

bool Communicator::join_all(uint64_t ms) {
  join();
  size_t standing = 0;  // all before it
  return world_.run_until(
      [&] {
        while (standing < ranks_.size() && ranks_[standing]->stands()) ++standing;
        return standing == ranks_.size();
      },
      ms);
}

}  // namespace comity::control::sim
