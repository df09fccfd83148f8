// The nodes of this process that stand in a tree, relays that their user has left included.
#pragma once

#include <memory>
#include <set>

namespace comity::control {

class Node;

// Control thread only.
std::set<std::shared_ptr<Node>>& standing_nodes();

}  // namespace comity::control
