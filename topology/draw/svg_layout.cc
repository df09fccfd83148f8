// The picture as a whole: hosts above and below the network, lines, texts, legend.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "topology/draw/outline.h"
#include "topology/draw/style.h"
#include "topology/draw/svg.h"
#include "topology/draw/svg_host.h"
#include "topology/draw/svg_shapes.h"

namespace comity::topology {
namespace {

constexpr double kMargin = 16, kBoxHeight = 26, kSwitchWidth = 80, kGap = 18, kToNetwork = 74;
constexpr size_t kMostSwitches = 48, kMostLegend = 18;
constexpr double kMostRow = 2400;    // of hosts side by side; one is drawn whatever its width
constexpr size_t kOneIn = 20;        // of a fabric folded by place: rarer kinds of hosts are not drawn
constexpr double kBeside = 7;        // between lines of the same ends
constexpr uint32_t kMostBeside = 5;  // such lines

// "sw12" of "switch12": what tells it apart is its number.
std::string abbreviated(const std::string& label) {
  const size_t number = label.find_first_of("0123456789");
  return number == std::string::npos || number < 2 ? label : label.substr(0, 2) + label.substr(number);
}

class Picture {
 public:
  explicit Picture(const Graph& graph) : graph_(graph), outline_(outline_of(graph)) {}

  SvgLayout lay_out() {
    place_hosts();
    for (size_t i = 0; i < hosts_.size(); ++i) draw_host(i);
    draw_network();
    draw_legend();
    layout_.width += kMargin;
    layout_.height += kMargin;
    return std::move(layout_);
  }

 private:
  struct PlacedHost {
    SvgHost host;
    double x = 0, y = 0;
    bool mirrored = false;  // below the network: upside down, so that its NICs are near it
  };

  std::string title_of(const Alike& group) const {
    std::string title = range_text(graph_, group.nodes);
    if (group.nodes.size() > 1) title += fmt::format("  ×{}", group.nodes.size());
    return title + "  " + graph_.nodes[group.node].name;
  }

  // As many as fit; of a fabric folded by place, which has the largest groups first, those that matter.
  void choose_hosts(double width) {
    for (size_t i = 0; i < outline_.hosts.size(); ++i) {
      const Alike& group = outline_.host_groups[i];
      if (outline_.by_place && i > 0 && group.nodes.size() * kOneIn < graph_.host_count()) return;
      PlacedHost placed;
      placed.host = svg_host(graph_, outline_.hosts[i], title_of(group));
      if (i > 0 && row_width(0, i) + kGap + placed.host.width > width) return;
      hosts_.push_back(std::move(placed));
    }
  }

  // A row above the network and one below it, the first with the odd host. Tiers of switches need the space
  // below.
  void place_hosts() {
    const bool both = !outline_.switches.empty() && outline_.switch_links.empty();
    choose_hosts(both ? 2 * kMostRow : kMostRow);
    const size_t count = hosts_.size();
    const size_t above = both ? (count + 1) / 2 : count;
    for (size_t i = above; i < count; ++i) hosts_[i].mirrored = true;
    const double width = std::max(row_width(0, above), row_width(above, count));
    layout_.width = kMargin + width;
    const double height = std::max(place_row(0, above, width), 0.0);
    place_row(above, count, width);
    network_top_ = kMargin + height + (outline_.switches.empty() ? 0 : kToNetwork);
    layout_.height = kMargin + height;
    const double below = network_top_ + kBoxHeight + kToNetwork;
    for (PlacedHost& each : hosts_) {
      each.y = each.mirrored ? below : kMargin + height - each.host.height;
      layout_.height = std::max(layout_.height, each.y + each.host.height);
    }
  }

  double row_width(size_t first, size_t end) const {
    double width = -kGap;
    for (size_t i = first; i < end; ++i) width += hosts_[i].host.width + kGap;
    return width;
  }

  // In the middle of `width`; the height of the highest.
  double place_row(size_t first, size_t end, double width) {
    double x = kMargin + (width - row_width(first, end)) / 2, height = 0;
    for (size_t i = first; i < end; ++i) {
      hosts_[i].x = x;
      x += hosts_[i].host.width + kGap;
      height = std::max(height, hosts_[i].host.height);
    }
    return height;
  }

  SvgRectangle absolute(const PlacedHost& placed, const SvgRectangle& at) const {
    const double y = placed.mirrored ? placed.host.height - at.y - at.height : at.y;
    return {placed.x + at.x, placed.y + y, at.width, at.height};
  }

  void add_text(const SvgRectangle& within, const std::string& text, double size, bool bold, bool centred) {
    const std::string cut = svg_cut(text, size, within.width);
    if (cut.empty()) return;
    const double width = svg_text_width(cut, size);
    const double x = centred ? within.x + (within.width - width) / 2 : within.x;
    layout_.texts.push_back(
        {{x, within.y + (within.height - size * 1.2) / 2, width, size * 1.2}, cut, size, bold});
  }

  void add_box(uint32_t index, const SvgRectangle& at, const std::string& label) {
    const Node& node = graph_.nodes[index];
    std::string hint = node.id;
    if (!node.name.empty()) hint += "  " + node.name;
    if (!node.bus_id.empty()) hint += "  " + node.bus_id;
    layout_.boxes.push_back({at, fill_of(node.kind), false, hint});
    places_[index] = at;
    std::string text = svg_text_width(label, 10) <= at.width - 4 ? label : abbreviated(label);
    const SvgRectangle inner{at.x + 2, at.y + 1, at.width - 4, at.height - 2};
    if (node.name.empty()) return add_text(inner, text, 10, false, true);
    if (svg_text_width(text + "  " + node.name, 10) <= at.width - 6) {
      text += "  " + node.name;
    } else if (at.height >= 34 && svg_text_width(node.name, 10) <= inner.width) {
      const double half = inner.height / 2;
      add_text({inner.x, inner.y, inner.width, half}, text, 10, false, true);
      return add_text({inner.x, inner.y + half, inner.width, half}, node.name, 10, false, true);
    }
    add_text(inner, text, 10, false, true);
  }

  void add_line(const Link& link, std::string path, bool behind) {
    layout_.lines.push_back({std::move(path), colour_of(link.kind), thickness_of(link.total_bytes_per_s()),
                             !link.shared.empty(), behind});
    const std::string text = fmt::format("{}  {}", name_of(link.kind), figure_text(link));
    legend_.emplace(std::pair{link.kind, ~link.total_bytes_per_s()}, std::pair{text, &link});
  }

  void draw_host(size_t i) {
    const PlacedHost& placed = hosts_[i];
    const SvgHost& host = placed.host;
    layout_.boxes.push_back({{placed.x, placed.y, host.width, host.height}, "#fbfbfb", true, host.title});
    const SvgRectangle title = absolute(placed, {14, 8, host.width - 28, 18});
    const SvgRectangle contents = absolute(placed, {14, 28, host.width - 28, 14});
    // Upside down the lines of the heading would be too: the title stays the upper one.
    const double lower = std::max(title.y, contents.y), upper = std::min(title.y, contents.y);
    const bool one = host.contents.empty();
    add_text({title.x, one ? title.y : upper, title.width, 18.0}, host.title, 13, true, false);
    if (!one)
      add_text({title.x, lower + (placed.mirrored ? 4 : 0), title.width, 14}, host.contents, 10, false,
               false);
    for (const auto& [index, at] : host.rects)
      add_box(index, absolute(placed, at), short_id(graph_.nodes[index]));
    for (uint32_t link : outline_.links[i]) draw_link(placed, graph_.links[link]);
    for (const auto& [child, parent] : host.parent) {
      if (host.parent_link.at(child) < 0) continue;
      draw_tree_link(placed, graph_.links[static_cast<size_t>(host.parent_link.at(child))], parent, child);
    }
  }

  // From what a node hangs from to the node.
  void draw_tree_link(const PlacedHost& placed, const Link& link, uint32_t parent, uint32_t child) {
    const SvgRectangle &from = places_[parent], &to = places_[child];
    if (std::abs(from.y - to.y) < 1) {
      const bool right = to.x > from.x;
      const double x1 = right ? from.x + from.width : from.x, x2 = right ? to.x : to.x + to.width;
      add_line(link, straight(x1, middle_y(from), x2, middle_y(to)), true);
      return;
    }
    const double x = middle(to);
    add_line(link,
             straight(x, placed.mirrored ? from.y : from.y + from.height, x,
                      placed.mirrored ? to.y + to.height : to.y),
             true);
  }

  void draw_link(const PlacedHost& placed, const Link& link) {
    const Node &a = graph_.nodes[link.from], &b = graph_.nodes[link.to];
    if (a.host == kNoHost || b.host == kNoHost) {
      outer_.push_back(&link);
      return;
    }
    // The line of the tree stands for it; a link beside that, of another kind or other figures, has its own.
    const SvgHost& host = placed.host;
    const auto hangs = [&](uint32_t child, uint32_t parent) {
      const auto found = host.parent.find(child);
      if (found == host.parent.end() || found->second != parent || host.parent_link.at(child) < 0)
        return false;
      return figures_of(graph_.links[static_cast<size_t>(host.parent_link.at(child))]) == figures_of(link);
    };
    if (hangs(link.to, link.from) || hangs(link.from, link.to) || link.kind == LinkKind::kMemory) return;
    const auto from = places_.find(link.from), to = places_.find(link.to);
    if (from == places_.end() || to == places_.end()) return;
    const std::optional<double> aside = beside(link.from, link.to);
    if (aside) draw_inside(placed, link, from->second, to->second, *aside);
  }

  // How far from the middle a line of these ends is drawn, so that none lies on another: 0, 7, -7, 14, ...;
  // nothing: there are enough of them.
  std::optional<double> beside(uint32_t from, uint32_t to) {
    const uint32_t line = lines_between_[std::minmax(from, to)]++;
    if (line >= kMostBeside) return std::nullopt;
    const double steps = (line + 1) / 2;  // NOLINT(bugprone-integer-division)
    return line % 2 == 1 ? steps * kBeside : -steps * kBeside;
  }

  void draw_inside(const PlacedHost& placed, const Link& link, const SvgRectangle& from,
                   const SvgRectangle& to, double aside) {
    const NodeKind a = graph_.nodes[link.from].kind, b = graph_.nodes[link.to].kind;
    const double down = placed.mirrored ? -1 : 1;
    const auto edge = [&](const SvgRectangle& at, bool lower) {
      return lower == placed.mirrored ? at.y : at.y + at.height;
    };
    if (a == NodeKind::kVendorSwitch || b == NodeKind::kVendorSwitch) {
      const SvgRectangle& bar = a == NodeKind::kVendorSwitch ? from : to;
      const SvgRectangle& device = a == NodeKind::kVendorSwitch ? to : from;
      const double x = middle(device) + aside;
      add_line(link, straight(x, edge(device, true), x, edge(bar, false)), true);
    } else if (a == NodeKind::kNuma && b == NodeKind::kNuma) {
      draw_cpu_link(link, from, to, {edge(from, false), down, aside});
    } else if (std::abs(from.y - to.y) < 1) {
      const double depth = 24 + std::min(std::abs(from.x - to.x) / 7, 110.0);
      add_line(
          link,
          curve(middle(from), edge(from, true), middle(to), edge(to, true), down * (depth * 1.2 + aside)),
          a != NodeKind::kDevice || b != NodeKind::kDevice);
    } else {
      add_line(link, straight(middle(from) + aside, middle_y(from), middle(to) + aside, middle_y(to)), true);
    }
  }

  struct Above {
    double top, down, aside;
  };
  void draw_cpu_link(const Link& link, const SvgRectangle& from, const SvgRectangle& to, const Above& at) {
    const SvgRectangle &left = from.x < to.x ? from : to, &right = from.x < to.x ? to : from;
    const double gap = right.x - left.x - left.width;
    if (gap < 40) {
      add_line(link,
               straight(left.x + left.width, middle_y(left) + at.aside, right.x, middle_y(right) + at.aside),
               true);
    } else {
      const double bulge = std::min(16 + gap / 12, 52.0) + at.aside;
      add_line(link, curve(middle(left), at.top, middle(right), at.top, -at.down * bulge), true);
    }
  }

  void draw_network() {
    if (outline_.switches.empty()) return;
    std::map<uint32_t, std::vector<const Alike*>> rows = switch_rows();
    const std::map<uint32_t, double> centres = centres_of_cables();
    const auto centre = [&centres](const Alike* each) {
      const auto found = centres.find(each->node);
      return found == centres.end() ? 0 : found->second;
    };
    std::stable_sort(rows[0].begin(), rows[0].end(),
                     [&](const Alike* a, const Alike* b) { return centre(a) < centre(b); });
    double y = network_top_;
    for (auto& [tier, row] : rows) {
      if (row.empty()) continue;
      if (tier > 0) sort_by_what_is_above(row);
      const size_t count = std::min(row.size(), kMostSwitches);
      const double pitch = kSwitchWidth + kGap;
      layout_.width = std::max(layout_.width, kMargin + static_cast<double>(count) * pitch);
      const double space = std::max(pitch, (layout_.width - kMargin) / static_cast<double>(count));
      for (size_t i = 0; i < count; ++i) {
        const double x = kMargin + (static_cast<double>(i) + 0.5) * space - kSwitchWidth / 2;
        const std::string times = row[i]->nodes.size() > 1 ? fmt::format(" ×{}", row[i]->nodes.size()) : "";
        add_box(row[i]->node, {x, y, kSwitchWidth, kBoxHeight}, short_id(graph_.nodes[row[i]->node]) + times);
      }
      layout_.height = std::max(layout_.height, y + kBoxHeight);
      y += kBoxHeight + kToNetwork;
    }
    draw_cables();
    for (uint32_t index : outline_.switch_links) draw_between_switches(graph_.links[index]);
  }

  // Switches that hosts are joined to first, then a row for each tier: spines.
  std::map<uint32_t, std::vector<const Alike*>> switch_rows() const {
    const std::vector<SwitchPlace> places = switch_places(graph_);
    std::map<uint32_t, std::vector<const Alike*>> rows;
    std::set<uint32_t> near;
    for (const Link* link : outer_) near.insert(outer_end(*link));
    for (const Alike& each : outline_.switches)
      rows[near.contains(each.node) ? 0 : places[each.node].tier].push_back(&each);
    return rows;
  }

  // By the middle of the switches that are placed and that each is joined to.
  void sort_by_what_is_above(std::vector<const Alike*>& row) const {
    std::map<uint32_t, std::pair<double, double>> sums;  // of middles, and how many
    for (uint32_t index : outline_.switch_links) {
      const uint32_t a = outline_.drawn[graph_.links[index].from], b = outline_.drawn[graph_.links[index].to];
      for (const auto& [mine, other] : {std::pair{a, b}, std::pair{b, a}}) {
        const auto placed = places_.find(other);
        if (placed == places_.end()) continue;
        sums[mine].first += middle(placed->second);
        sums[mine].second += 1;
      }
    }
    const auto centre = [&sums](const Alike* each) {
      const auto found = sums.find(each->node);
      return found == sums.end() ? 0.0 : std::round(found->second.first / found->second.second);
    };
    std::stable_sort(row.begin(), row.end(),
                     [&](const Alike* one, const Alike* other) { return centre(one) < centre(other); });
  }

  void draw_between_switches(const Link& link) {
    const uint32_t a = outline_.drawn[link.from], b = outline_.drawn[link.to];
    const auto from = places_.find(a), to = places_.find(b);
    if (from == places_.end() || to == places_.end()) return;
    const std::optional<double> aside = beside(a, b);
    if (!aside) return;
    // Of one row the lines lie above each other, else side by side.
    const bool level = std::abs(from->second.y - to->second.y) < 1;
    const double x = level ? 0 : *aside, y = level ? *aside : 0;
    add_line(link,
             straight(middle(from->second) + x, middle_y(from->second) + y, middle(to->second) + x,
                      middle_y(to->second) + y),
             true);
  }

  // By switch, the middle of what it is joined to, to the pixel: switches in that order cross the fewest
  // cables.
  std::map<uint32_t, double> centres_of_cables() const {
    std::map<uint32_t, std::pair<double, int>> sums;
    for (const Link* link : outer_) {
      auto& [sum, count] = sums[outer_end(*link)];
      const auto inner = places_.find(graph_.nodes[link->from].host == kNoHost ? link->to : link->from);
      if (inner == places_.end()) continue;
      sum += middle(inner->second);
      ++count;
    }
    std::map<uint32_t, double> centres;
    for (const auto& [node, each] : sums) centres[node] = std::round(each.first / std::max(each.second, 1));
    return centres;
  }

  uint32_t outer_end(const Link& link) const {
    return outline_.drawn[graph_.nodes[link.from].host == kNoHost ? link.from : link.to];
  }

  // From NICs out of the frames to the switches; the lines of a switch spread along its side, in order.
  void draw_cables() {
    struct Cable {
      const Link* link;
      SvgRectangle from;
      const PlacedHost* host;
    };
    std::map<std::pair<uint32_t, bool>, std::vector<Cable>> cables;
    for (const Link* link : outer_) {
      const uint32_t inner = graph_.nodes[link->from].host == kNoHost ? link->to : link->from;
      const auto from = places_.find(inner);
      if (from == places_.end() || places_.count(outer_end(*link)) == 0) continue;
      const auto host = std::find_if(hosts_.begin(), hosts_.end(), [&](const PlacedHost& each) {
        return each.host.rects.count(inner) > 0;
      });
      if (host == hosts_.end()) continue;
      cables[{outer_end(*link), host->mirrored}].push_back({link, from->second, &*host});
    }
    for (auto& [key, list] : cables) {
      std::stable_sort(list.begin(), list.end(),
                       [](const Cable& a, const Cable& b) { return a.from.x < b.from.x; });
      const SvgRectangle& to = places_[key.first];
      for (size_t i = 0; i < list.size(); ++i) {
        const Cable& cable = list[i];
        const bool mirrored = cable.host->mirrored;
        const double x1 = middle(cable.from);
        const double y1 = mirrored ? cable.from.y : cable.from.y + cable.from.height;
        const double frame = mirrored ? cable.host->y : cable.host->y + cable.host->host.height;
        const double x2 = to.x + to.width * static_cast<double>(i + 1) / static_cast<double>(list.size() + 1);
        const double y2 = mirrored ? to.y + to.height : to.y;
        add_line(*cable.link,
                 fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}", x1, y1, x1, frame, x2, y2), true);
      }
    }
  }

  void draw_legend() {
    double widest = 0;
    for (const auto& [key, entry] : legend_) widest = std::max(widest, svg_text_width(entry.first, 11));
    const double pitch = widest + 70;
    const double available = std::max(layout_.width - kMargin, pitch);
    layout_.width = std::max(layout_.width, kMargin + pitch);
    const auto columns = static_cast<size_t>(std::max(1.0, std::floor(available / pitch)));
    const double top = layout_.height + 14;
    size_t i = 0;
    for (const auto& [key, entry] : legend_) {
      if (i == kMostLegend) break;
      const double x = kMargin + static_cast<double>(i % columns) * pitch;
      const double y = top + static_cast<double>(i / columns) * 20;
      layout_.lines.push_back({straight(x, y + 9, x + 34, y + 9), colour_of(key.first),
                               thickness_of(entry.second->total_bytes_per_s()), !entry.second->shared.empty(),
                               false});
      add_text({x + 42, y, widest + 2, 18}, entry.first, 11, false, false);
      layout_.height = y + 20;
      ++i;
    }
    std::string more;
    if (legend_.size() > kMostLegend)
      more = fmt::format("and {} more figures. ", legend_.size() - kMostLegend);
    if (outline_.hosts.size() > hosts_.size()) {
      size_t left = 0;
      for (size_t kind = hosts_.size(); kind < outline_.hosts.size(); ++kind)
        left += outline_.host_groups[kind].nodes.size();
      more +=
          fmt::format("Not drawn: {} hosts of {} other kinds. ", left, outline_.hosts.size() - hosts_.size());
    }
    if (outline_.switches.size() > kMostSwitches)
      more += fmt::format("{} switches are not drawn. ", outline_.switches.size() - kMostSwitches);
    if (more.empty()) return;
    add_text({kMargin, layout_.height, layout_.width - kMargin, 18}, more, 11, false, false);
    layout_.height += 20;
  }

  const Graph& graph_;
  const Outline outline_;
  SvgLayout layout_;
  std::vector<PlacedHost> hosts_;
  std::map<uint32_t, SvgRectangle> places_;  // by node
  std::vector<const Link*> outer_;           // between hosts and switches outside
  std::map<std::pair<LinkKind, uint64_t>, std::pair<std::string, const Link*>> legend_;  // the widest first
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> lines_between_;  // by ends, drawn so far
  double network_top_ = 0;
};

}  // namespace

SvgLayout svg_layout(const Graph& graph) {
  return Picture(graph).lay_out();
}

}  // namespace comity::topology
