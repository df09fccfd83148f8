// Letters: each goes the one way that the tree has between two ranks.
#include <utility>

#include "src/control/node.h"
#include "src/control/tree_shape.h"

namespace comity::control {

void Node::post_letter(uint32_t to, uint8_t box, Bytes content) {
  pass_on(Letter{options_.rank, to, box, std::move(content)}, nullptr);
}

bool Node::on_letter(const Channel* from, std::span<const std::byte> payload) {
  auto letter = decode_letter(payload, options_.nranks);
  if (!letter || !joined_) return false;
  pass_on(std::move(*letter), from);
  return true;
}

// In a tree that was mended ranks may be elsewhere than their numbers say: a letter that is not sure of its
// way takes all, but the one that it came; so it comes once, and ends.
void Node::pass_on(Letter letter, const Channel* from) {
  if (letter.to == options_.rank) return letterboxes_->deliver(std::move(letter));
  const Bytes payload = encode(letter);
  const auto send = [&](Neighbour& neighbour) {
    neighbour.channel->send(static_cast<uint16_t>(MessageType::kLetter), payload);
  };
  Neighbour* towards = parent_ ? &*parent_ : nullptr;
  for (auto& [rank, child] : children_) {
    if (in_subtree_of(letter.to, rank)) towards = &child;
  }
  const bool is_below = in_subtree_of(letter.to, options_.rank);
  const bool sure =
      towards != nullptr && towards->channel.get() != from && is_below == (!parent_ || towards != &*parent_);
  if (sure) return send(*towards);
  for_each_neighbour([&](Neighbour& neighbour) {
    if (neighbour.channel.get() != from) send(neighbour);
  });
}

}  // namespace comity::control
