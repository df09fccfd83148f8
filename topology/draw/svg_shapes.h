// Lines of SVG, and the middles of rectangles that they join. Nothing blocks or is bound to a thread.
#pragma once

#include <fmt/core.h>

#include <string>

#include "topology/draw/svg.h"

namespace comity::topology {

inline double middle(const SvgRectangle& at) {
  return at.x + at.width / 2;
}

inline std::string curve(double x1, double y1, double x2, double y2, double bulge) {
  return fmt::format("M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", x1, y1, x1, y1 + bulge, x2,
                     y2 + bulge, x2, y2);
}

inline std::string straight(double x1, double y1, double x2, double y2) {
  return fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", x1, y1, x2, y2);
}

inline double middle_y(const SvgRectangle& at) {
  return at.y + at.height / 2;
}

}  // namespace comity::topology
