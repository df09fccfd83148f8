// What an importer could not understand of a text, beside the graph that it could make of the rest.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

// A graph and what to tell whoever reads it. A warning is one line, "<origin>:<line>: <what>", in the order
// of the text; none: all of it was understood. They are beside the graph, not in it: how a machine was
// described is no part of the machine, and ranks that agree on a graph need not have read the same text.
struct Imported {
  Graph graph;
  std::vector<std::string> warnings{};
};

// Collects warnings while a text is read. The same words at several places are one warning, which says how
// many; past kMost different ones only their number is kept, whatever the text.
class Notes {
 public:
  static constexpr size_t kMost = 50;

  // True, and counted, if these words were noted before: finding a line can be dear.
  bool again(const std::string& what);
  void add(size_t line, std::string what);
  std::vector<std::string> warnings(const std::string& origin) const;

 private:
  struct Note {
    size_t line = 0;
    std::string what;
    size_t times = 1;
  };
  std::vector<Note> notes_;
  std::map<std::string, size_t> known_;
  size_t left_out_ = 0;
};

}  // namespace comity::topology
