// Ends of processes: who watches whom, and who has to know.
#include <utility>

#include "src/base/log.h"
#include "src/control/node.h"
#include "src/control/tree_shape.h"

namespace comity::control {

void Node::watch_processes() {
  processes_ = ProcessWatch::start(
      loop_, [self = shared_from_this()](uint32_t rank) { self->on_watched_ended(rank); });
  for_each_neighbour([this](const Neighbour& neighbour) { watch_process(neighbour.rank); });
  // On each machine everybody is watched by one who lives there, wherever its neighbours in the tree are.
  watched_next_ = book_->neighbour_of(options_.rank);
  if (watched_next_) watch_process(*watched_next_);
}

void Node::watch_process(uint32_t rank) {
  if (processes_) processes_->watch(rank, book_->process_of(rank));
}

Node::Neighbour* Node::neighbour(uint32_t rank) {
  if (parent_ && parent_->rank == rank) return &*parent_;
  const auto child = children_.find(rank);
  return child == children_.end() ? nullptr : &child->second;
}

// Whoever was watched on this machine by the one that ended is watched by its own watcher now.
void Node::on_watched_ended(uint32_t rank) {
  if (watched_next_ == rank) {
    watched_next_ = book_->neighbour_of(rank);
    if (watched_next_) watch_process(*watched_next_);
  }
  on_process_ended(rank);
}

// Here or by its end being told. A neighbour is lost as if its connection had closed; one that is being
// called need be called no longer; of all others the parent in the tree is told, which knows whether they had
// left.
void Node::on_process_ended(uint32_t rank) {
  if (finished_ || over()) return;
  ended_.add(rank);
  if (Neighbour* gone = neighbour(rank)) {
    const std::shared_ptr<Channel> channel = gone->channel;
    return channel->peer_ended();
  }
  if (lost_.contains(rank)) return on_child_failed(rank, true);
  if (is_root() && decision_.set_gone(rank)) on_news_of_gone();
  const Bytes payload = encode(Ended{rank});
  if (!in_subtree_of(rank, options_.rank)) return to_parent(MessageType::kEnded, payload);
  for (const auto& child : children_) {
    if (in_subtree_of(rank, child.first))
      child.second.channel->send(static_cast<uint16_t>(MessageType::kEnded), payload);
  }
}

bool Node::on_ended(std::span<const std::byte> payload) {
  const auto ended = decode_ended(payload);
  if (!ended || ended->rank >= options_.nranks || ended->rank == options_.rank) return false;
  // What it said last may come later than this, by another way.
  if (!ended_.contains(ended->rank)) {
    loop_.after_ms(ProcessWatch::kLastWordsMs,
                   [self = shared_from_this(), rank = ended->rank] { self->on_process_ended(rank); });
  }
  return true;
}

bool Node::on_gone(const Neighbour& from, std::span<const std::byte> payload) {
  const auto gone = decode_gone(payload, options_.nranks);
  if (!gone) return false;
  const bool knew = gone->left.without(decision_.gone().left).empty();
  if (!decision_.add_gone(*gone)) return true;
  if (!knew) on_news_of_left(&from);
  tell_state_soon();
  on_news_of_gone();
  return true;
}

}  // namespace comity::control
