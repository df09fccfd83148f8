// Parts of the text for people: one host, and a fabric that is too large to list. Each returns lines, ended
// by \n; nothing where there is nothing to say. Nothing here blocks; no function is bound to a thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "topology/draw/outline.h"

namespace comity::topology {

// "gpu0-gpu7", "nic0, nic2": ids in order that end in consecutive numbers.
std::string ids_text(const std::vector<std::string>& ids);
// "3 hosts", "1 host", "2 switches".
std::string counted(size_t count, std::string_view one);

// The tree below a host, what each part of it is and can do: CPUs, caches, memory, a port's speed and state.
std::string tree_text(const Graph& graph, const HostOutline& host);
// Links of `links` (indices) that are not in the host's tree, those of equal figures in one line. Without a
// host: all of them.
std::string links_text(const Graph& graph, const Outline& outline, const std::vector<uint32_t>& links,
                       const HostOutline* host);
// A matrix of paths, and for each device the NICs that are nearest to it, in the order that the devices' own
// numbers have.
std::string paths_text(const Graph& graph, const HostOutline& host);

// Of a fabric folded by place: its switches by rail and tier, and the hosts by the leaves above them.
std::string fabric_text(const Graph& graph, const Outline& outline);
// Kinds of hosts from number `first` on, a line each.
std::string other_hosts_text(const Graph& graph, const Outline& outline, size_t first);

}  // namespace comity::topology
