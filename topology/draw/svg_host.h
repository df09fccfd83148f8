// Where the nodes of one host go in a picture: NUMA domains as bars above their PCIe switches above a row of
// devices and NICs, a column each; below that row a zone for links between devices and bars of vendors'
// switches.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "topology/draw/outline.h"
#include "topology/draw/svg.h"

namespace comity::topology {

struct SvgHost {
  double width = 0, height = 0;             // of its frame
  std::map<uint32_t, SvgRectangle> rects;   // by node, relative to the frame; pass-through bridges have none
  std::map<uint32_t, uint32_t> parent;      // by node: the drawn node that it hangs from
  std::map<uint32_t, int64_t> parent_link;  // by node: the graph's link from it
  std::string title, contents;              // cut to the frame's width
  double title_height = 0;
  double arc_depth = 0;  // of the zone for links between devices
};

// `title`: which hosts they are.
SvgHost svg_host(const Graph& graph, const HostOutline& outline, const std::string& title);

inline constexpr double kSvgCharacter =
    0.62;  // width of a monospaced character by its size: DejaVu Sans Mono's 0.602
double svg_text_width(std::string_view text, double size);
// Cut to `width`, with "..." at its end.
std::string svg_cut(const std::string& text, double size, double width);

}  // namespace comity::topology
