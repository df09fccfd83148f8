// A graph as an SVG picture: the hosts above and below the network that joins them, hosts that are alike
// drawn once with their number, links coloured by kind and as wide as their bandwidth, and a legend. Does not
// block.
#pragma once

#include <string>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

// Pixels; y grows downwards.
struct SvgRectangle {
  double x = 0, y = 0, width = 0, height = 0;
};

// Where everything goes, before it is written: tests look at it.
struct SvgLayout {
  struct Box {
    SvgRectangle at;
    const char* fill = "";
    bool is_frame = false;
    std::string hint;  // shown when pointed at
  };
  struct Text {
    SvgRectangle at;  // what it covers
    std::string text;
    double size = 10;
    bool bold = false;
  };
  struct Line {
    std::string path;  // of SVG: "M0 0L10 10"
    const char* colour = "";
    double width = 1;
    bool dashed = false;  // shares its capacity
    bool behind = false;  // behind boxes
  };
  double width = 0, height = 0;
  std::vector<Box> boxes;
  std::vector<Text> texts;
  std::vector<Line> lines;
};

SvgLayout svg_layout(const Graph& graph);
std::string to_svg(const Graph& graph);

}  // namespace comity::topology
