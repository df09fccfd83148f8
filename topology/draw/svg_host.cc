#include "topology/draw/svg_host.h"

#include <fmt/core.h>

#include <algorithm>

namespace comity::topology {
namespace {

constexpr double kColumn = 48, kLeafWidth = 42, kBoxHeight = 24, kTwoLines = 34, kRow = 52, kMargin = 14;
constexpr double kMostTitle = 900;

bool is_leaf(NodeKind kind) {
  return kind == NodeKind::kDevice || kind == NodeKind::kNic;
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

class HostLayout {
 public:
  HostLayout(const Graph& graph, const HostOutline& outline) : graph_(graph), outline_(outline) {}

  SvgHost lay_out(const std::string& title) {
    elide();
    assign_columns();
    place_titles(title);
    place_nodes();
    place_vendor_switches();
    return std::move(host_);
  }

 private:
  const Node& node(size_t i) const { return graph_.nodes[outline_.nodes[i]]; }
  bool is_inner(size_t i) const {
    return !is_leaf(node(i).kind) && node(i).kind != NodeKind::kHost &&
           node(i).kind != NodeKind::kVendorSwitch;
  }

  // A bridge with one thing below it (a root port) is no news: its child hangs from its parent.
  void elide() {
    const size_t count = outline_.nodes.size();
    std::vector<uint32_t> children(count, 0);
    for (size_t i = 0; i < count; ++i) {
      if (outline_.parent[i] >= 0) ++children[static_cast<size_t>(outline_.parent[i])];
    }
    above_.assign(count, -1);
    elided_.assign(count, false);
    level_.assign(count, 0);
    for (size_t i = 0; i < count; ++i) {
      // One that hangs from the host itself stays: its child would hang from nothing.
      const bool from_host = outline_.parent[i] <= 0;
      elided_[i] = node(i).kind == NodeKind::kPcieBridge && children[i] <= 1 && !from_host;
      int64_t up = outline_.parent[i];
      while (up >= 0 && elided_[static_cast<size_t>(up)]) up = outline_.parent[static_cast<size_t>(up)];
      above_[i] = up;
      const bool below_inner = up >= 0 && is_inner(static_cast<size_t>(up));
      level_[i] = below_inner ? level_[static_cast<size_t>(up)] + 1 : 0;
      if (is_inner(i) && !elided_[i]) levels_ = std::max(levels_, level_[i] + 1);
    }
  }

  // A column for each leaf in the tree's order, and for each inner node with nothing below it.
  void assign_columns() {
    const size_t count = outline_.nodes.size();
    first_.assign(count, -1);
    last_.assign(count, -1);
    std::vector<bool> has_children(count, false);
    for (size_t i = 0; i < count; ++i) {
      if (above_[i] >= 0 && !elided_[i]) has_children[static_cast<size_t>(above_[i])] = true;
    }
    double gap = 0;
    for (size_t i = 0; i < count; ++i) {
      if (elided_[i] || node(i).kind == NodeKind::kHost || node(i).kind == NodeKind::kVendorSwitch) continue;
      if (node(i).kind == NodeKind::kNuma && columns_ > 0) gap += 22;
      if (!is_leaf(node(i).kind) && has_children[i]) continue;
      const double x = kMargin + gap + columns_++ * kColumn;
      for (auto up = static_cast<int64_t>(i); up >= 0; up = above_[static_cast<size_t>(up)]) {
        const auto at = static_cast<size_t>(up);
        if (first_[at] < 0) first_[at] = x;
        last_[at] = x + kColumn;
      }
    }
    right_ = kMargin + gap + columns_ * kColumn;
  }

  void place_titles(const std::string& title) {
    host_.contents = contents_text(graph_, outline_);
    const double wanted =
        std::max(svg_text_width(title, 13), svg_text_width(host_.contents, 10)) + 2 * kMargin + 2;
    host_.width = std::max(right_ + kMargin, std::min(wanted, kMostTitle));
    host_.title = svg_cut(title, 13, host_.width - 2 * kMargin);
    host_.contents = svg_cut(host_.contents, 10, host_.width - 2 * kMargin);
    host_.title_height = host_.contents.empty() ? 32 : 50;
    shift_ = (host_.width - right_ - kMargin) / 2;
  }

  void place_nodes() {
    // A second line for names that fit: "eth0", "mlx5_0".
    const bool named = std::any_of(outline_.nodes.begin(), outline_.nodes.end(), [this](uint32_t each) {
      const Node& leaf = graph_.nodes[each];
      return is_leaf(leaf.kind) && !leaf.name.empty() && svg_text_width(leaf.name, 10) <= kLeafWidth - 4;
    });
    const double leaf_height = named ? kTwoLines : kBoxHeight;
    uint32_t numas = 0;
    for (size_t i = 0; i < outline_.nodes.size(); ++i) numas += node(i).kind == NodeKind::kNuma ? 1 : 0;
    // Room above the NUMA domains for links between those that are not neighbours.
    const double top = host_.title_height + (numas > 2 ? 14 + 7 * std::min(numas, 8u) : 4);
    leaf_top_ = top + levels_ * kRow;
    for (size_t i = 0; i < outline_.nodes.size(); ++i) {
      if (elided_[i] || first_[i] < 0 || node(i).kind == NodeKind::kHost) continue;
      const uint32_t index = outline_.nodes[i];
      const bool inner = is_inner(i);
      const double y = inner ? top + level_[i] * kRow : leaf_top_;
      const double inset = (kColumn - kLeafWidth) / 2;
      const double right = inner ? last_[i] : first_[i] + kColumn;
      host_.rects[index] = {first_[i] + inset + shift_, y, right - first_[i] - 2 * inset,
                            inner ? kBoxHeight : leaf_height};
      if (above_[i] < 0) continue;
      const auto up = static_cast<size_t>(above_[i]);
      if (node(up).kind == NodeKind::kHost) continue;
      host_.parent[index] = outline_.nodes[up];
      host_.parent_link[index] = outline_.link[i];
    }
    host_.height = leaf_top_ + leaf_height + kMargin;
    place_arcs();
  }

  void place_arcs() {
    double farthest = 0;
    for (const Link& link : graph_.links) {
      const auto a = host_.rects.find(link.from), b = host_.rects.find(link.to);
      if (a == host_.rects.end() || b == host_.rects.end()) continue;
      if (graph_.nodes[link.from].kind != NodeKind::kDevice ||
          graph_.nodes[link.to].kind != NodeKind::kDevice)
        continue;
      farthest = std::max(farthest, std::abs(a->second.x - b->second.x));
    }
    host_.arc_depth = farthest > 0 ? 24 + std::min(farthest / 7, 110.0) : 0;
    host_.height += host_.arc_depth;
  }

  void place_vendor_switches() {
    for (size_t i = 0; i < outline_.nodes.size(); ++i) {
      if (node(i).kind != NodeKind::kVendorSwitch) continue;
      const uint32_t index = outline_.nodes[i];
      double first = host_.width, last = 0;
      for (const Link& link : graph_.links) {
        const auto device = host_.rects.find(link.from);
        if (link.to != index || device == host_.rects.end()) continue;
        first = std::min(first, device->second.x);
        last = std::max(last, device->second.x + device->second.width);
      }
      if (first >= last) first = kMargin, last = kMargin + 2 * kColumn;
      host_.height += 24;
      host_.rects[index] = {first, host_.height - kMargin, last - first, kBoxHeight};
      host_.height += kBoxHeight;
    }
  }

  const Graph& graph_;
  const HostOutline& outline_;
  SvgHost host_;
  std::vector<int64_t> above_;
  std::vector<bool> elided_;
  std::vector<uint32_t> level_;
  std::vector<double> first_, last_;  // of columns
  uint32_t levels_ = 0, columns_ = 0;
  double right_ = 0, shift_ = 0, leaf_top_ = 0;
};

}  // namespace

double svg_text_width(std::string_view text, double size) {
  return kSvgCharacter * size * static_cast<double>(characters(text));
}

std::string svg_cut(const std::string& text, double size, double width) {
  if (svg_text_width(text, size) <= width) return text;
  const auto fitting = static_cast<size_t>(std::max(0.0, width / (kSvgCharacter * size)));
  if (fitting < 4) return "";
  size_t end = 0;
  for (size_t kept = 0; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && ++kept > fitting - 3) break;
  }
  return text.substr(0, end) + "...";
}

SvgHost svg_host(const Graph& graph, const HostOutline& outline, const std::string& title) {
  return HostLayout(graph, outline).lay_out(title);
}

}  // namespace comity::topology
