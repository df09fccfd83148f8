#include "topology/draw/svg.h"

#include <fmt/core.h>

namespace comity::topology {
namespace {

// Bytes of the UTF-8 sequence that begins here; 0: none does.
size_t sequence(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t size = lead < 0x80                   ? 1
                      : lead >= 0xc2 && lead < 0xe0 ? 2
                      : lead >= 0xe0 && lead < 0xf0 ? 3
                      : lead >= 0xf0 && lead < 0xf5 ? 4
                                                    : 0;
  if (size == 0 || size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  // Surrogates, overlong forms and what is beyond the last code point.
  const auto second = size > 1 ? static_cast<unsigned char>(text[1]) : 0;
  const bool bad = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                   (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f) ||
                   (lead == 0xef && second == 0xbf && static_cast<unsigned char>(text[2]) >= 0xbe);
  return bad ? 0 : size;
}

// Names come from files: what XML does not take becomes a question mark.
std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t size = sequence(text);
    const char c = text[0];
    if (size == 0 || (size == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f))) {
      out += '?';
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return out;
}

void add_lines(const SvgLayout& layout, bool behind, std::string& svg) {
  svg += "<g fill=\"none\" stroke-linecap=\"round\" stroke-linejoin=\"round\">\n";
  for (const SvgLayout::Line& line : layout.lines) {
    if (line.behind != behind) continue;
    svg += fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-width=\"{:.2f}\"{}/>\n", line.path, line.colour,
                       line.width, line.dashed ? " stroke-dasharray=\"5 4\"" : "");
  }
  svg += "</g>\n";
}

void add_boxes(const SvgLayout& layout, bool frames, std::string& svg) {
  for (const SvgLayout::Box& box : layout.boxes) {
    if (box.is_frame != frames) continue;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{}\" fill=\"{}\" "
        "stroke=\"{}\"><title>{}</title></rect>\n",
        box.at.x, box.at.y, box.at.width, box.at.height, frames ? 8 : 4, box.fill,
        frames ? "#9aa3ad" : "#56606b", escaped(box.hint));
  }
}

}  // namespace

std::string to_svg(const Graph& graph) {
  const SvgLayout layout = svg_layout(graph);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
      "{1:.0f}\" "
      "font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\">\n<title>{2}</title>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      layout.width, layout.height, escaped(graph.origin));
  add_boxes(layout, true, svg);
  add_lines(layout, true, svg);
  add_boxes(layout, false, svg);
  add_lines(layout, false, svg);
  for (const SvgLayout::Text& text : layout.texts) {
    // The length is said, so that another font covers no more than the layout gave it.
    svg += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" textLength=\"{:.1f}\" "
        "lengthAdjust=\"spacingAndGlyphs\"{} xml:space=\"preserve\">{}</text>\n",
        text.at.x, text.at.y + text.size * 0.95, text.size, text.at.width,
        text.bold ? " font-weight=\"bold\"" : "", escaped(text.text));
  }
  return svg + "</svg>\n";
}

}  // namespace comity::topology
