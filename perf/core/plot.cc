#include "perf/core/plot.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "perf/core/element.h"
#include "perf/core/results_json.h"
#include "perf/job/sizes.h"

namespace comity::perf {
namespace {

constexpr double kPanelWidth = 430, kPanelHeight = 300, kLeft = 70, kTop = 60, kGap = 90;
constexpr std::array<const char*, 8> kColours = {"#0b62a4", "#d1495b", "#2e8540", "#7a4ea3",
                                                 "#c77700", "#00798c", "#555555", "#a23b72"};

struct Point {
  double size, value;
};
struct Line {
  std::string label;
  const char* colour;
  bool dashed;
  std::vector<Point> time_us, busbw;
};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string label_of(const RowKey& key) {
  std::string label = column_name(key.type);
  if (key.op) label += fmt::format(" {}", op_text(key));
  if (key.root >= 0) label += fmt::format(", root {}", key.root);
  return label;
}

std::vector<Line> lines_of(const std::vector<RowResult>& rows) {
  std::vector<Line> lines;
  std::map<std::string, size_t> first_of;  // a label's line out of place; in place is the next
  for (const RowResult& row : rows) {
    const std::string label = label_of(row.key);
    const auto [found, is_new] = first_of.emplace(label, lines.size());
    if (is_new) {
      const char* colour = kColours[lines.size() / 2 % kColours.size()];
      lines.push_back({label + ", out of place", colour, false, {}, {}});
      lines.push_back({label + ", in place", colour, true, {}, {}});
    }
    const auto add = [&](Line& line, const PlacementResult& result) {
      const auto size = static_cast<double>(row.bytes);
      if (size > 0 && result.time_us > 0) line.time_us.push_back({size, result.time_us});
      if (size > 0 && result.busbw_gb_per_s > 0) line.busbw.push_back({size, result.busbw_gb_per_s});
    };
    add(lines[found->second], row.out_of_place);
    if (row.in_place) add(lines[found->second + 1], *row.in_place);
  }
  std::erase_if(lines, [](const Line& line) { return line.time_us.empty(); });
  return lines;
}

// A logarithmic axis from `least` to `most`, `length` long, both ends at a power of its base.
struct Axis {
  double base, low, high, length;

  Axis(double base, double least, double most, double length) : base(base), length(length) {
    low = std::floor(std::log(least) / std::log(base) + 1e-9);
    high = std::max(low + 1, std::ceil(std::log(most) / std::log(base) - 1e-9));
  }
  double at(double value) const { return (std::log(value) / std::log(base) - low) / (high - low) * length; }
  double power(double exponent) const { return std::pow(base, exponent); }
  // Every how many powers a tick has room for its text.
  int step(double room) const {
    return std::max(1, static_cast<int>(std::ceil((high - low) * room / length)));
  }
};

std::string number(double value) {
  if (value >= 1e6) return fmt::format("{:g}M", value / 1e6);
  return value >= 1e3 ? fmt::format("{:g}k", value / 1e3) : fmt::format("{:g}", value);
}

std::string text(double x, double y, const char* anchor, const std::string& words, const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more,
                     escaped(words));
}

std::string rule(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2, y2, colour);
}

std::string grid(double left, const Axis& x, const Axis& y) {
  const double bottom = kTop + kPanelHeight;
  std::string out;
  for (double e = x.low; e <= x.high; e += x.step(42)) {
    const double at = left + x.at(x.power(e));
    out += rule(at, kTop, at, bottom, "#e3e3e3");
    out += text(at, bottom + 18, "middle", format_bytes(static_cast<uint64_t>(x.power(e))));
  }
  for (double e = y.low; e <= y.high; e += y.step(24)) {
    const double at = bottom - y.at(y.power(e));
    out += rule(left, at, left + kPanelWidth, at, "#e3e3e3");
    out += text(left - 8, at + 4, "end", number(y.power(e)));
  }
  return out + fmt::format(
                   "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"none\" "
                   "stroke=\"#444\"/>\n",
                   left, kTop, kPanelWidth, kPanelHeight);
}

std::string curve(double left, const Axis& x, const Axis& y, const Line& line,
                  const std::vector<Point>& points) {
  std::string path, marks;
  for (const Point& point : points) {
    const double px = left + x.at(point.size), py = kTop + kPanelHeight - y.at(point.value);
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", px, py);
    marks +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", px, py, line.colour);
  }
  return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{}/>\n{}", path,
                     line.colour, line.dashed ? " stroke-dasharray=\"6 4\"" : "", marks);
}

std::string panel(double left, const char* title, const std::vector<Line>& lines,
                  std::vector<Point> Line::*values) {
  std::vector<Point> all;
  for (const Line& line : lines) all.insert(all.end(), (line.*values).begin(), (line.*values).end());
  std::string out = text(left + kPanelWidth / 2, kTop - 12, "middle", title, " font-weight=\"bold\"");
  if (all.empty()) return out + text(left + kPanelWidth / 2, kTop + 40, "middle", "nothing to draw");
  const auto [smallest, largest] = std::minmax_element(
      all.begin(), all.end(), [](const Point& a, const Point& b) { return a.size < b.size; });
  const auto [least, most] = std::minmax_element(
      all.begin(), all.end(), [](const Point& a, const Point& b) { return a.value < b.value; });
  const Axis x(2, smallest->size, largest->size, kPanelWidth), y(10, least->value, most->value, kPanelHeight);
  out += grid(left, x, y);
  for (const Line& line : lines) out += curve(left, x, y, line, line.*values);
  return out + text(left + kPanelWidth / 2, kTop + kPanelHeight + 38, "middle", "size (bytes)");
}

std::string legend(const std::vector<Line>& lines, double top) {
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const double x = kLeft + static_cast<double>(i % 2) * 300, y = top + static_cast<double>(i / 2) * 20;
    out += fmt::format("<path d=\"M{:.1f} {:.1f}h36\" stroke=\"{}\" stroke-width=\"1.8\"{}/>\n", x, y - 4,
                       lines[i].colour, lines[i].dashed ? " stroke-dasharray=\"6 4\"" : "");
    out += text(x + 44, y, "start", lines[i].label);
  }
  return out;
}

}  // namespace

std::string plot_svg(const std::string& title, const std::vector<RowResult>& rows) {
  const std::vector<Line> lines = lines_of(rows);
  const double width = kLeft + 2 * kPanelWidth + kGap + 30, legend_top = kTop + kPanelHeight + 68;
  const double height = legend_top + 20 * std::ceil(static_cast<double>(lines.size()) / 2);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
      "{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n",
      width, height);
  out += text(width / 2, 24, "middle", title, " font-size=\"16\"");
  out += panel(kLeft, "time (us)", lines, &Line::time_us);
  out += panel(kLeft + kPanelWidth + kGap, "bus bandwidth (GB/s)", lines, &Line::busbw);
  return out + legend(lines, legend_top) + "</svg>\n";
}

}  // namespace comity::perf
