// The nodes of a process that stand in a tree, relays that their user has left included.
#pragma once

#include <memory>
#include <set>

namespace comity::control {

class Loop;
class Node;

// Control thread only.
std::set<std::shared_ptr<Node>>& standing_nodes(Loop& loop);

}  // namespace comity::control
