#include "topology/import/xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <pugixml.hpp>

namespace comity::topology {

namespace {

constexpr size_t kMostBytes = size_t{64} << 20;

bool parse(std::string_view text, int64_t& value) {
  const bool hex = text.substr(0, 2) == "0x" || text.substr(0, 2) == "0X";
  if (hex) text.remove_prefix(2);
  if (text.empty() || (hex && text.front() == '-')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

size_t XmlText::line_at(ptrdiff_t offset) const {
  const size_t end = std::min(text_.size(), static_cast<size_t>(std::max<ptrdiff_t>(offset, 0)));
  return 1 +
         static_cast<size_t>(std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(end), '\n'));
}

size_t XmlText::line_of(const pugi::xml_node& node) const {
  return line_at(node.offset_debug());
}

Status XmlText::at(ptrdiff_t offset, const std::string& reason) const {
  return {Code::kInvalidArgument, fmt::format("{}:{}: {}", origin_, line_at(offset), reason)};
}

Status XmlText::bad(const pugi::xml_node& node, const std::string& reason) const {
  return at(node.offset_debug(), reason);
}

Status XmlText::load(pugi::xml_document& document, const char* root) const {
  if (text_.size() > kMostBytes)
    return at(0, fmt::format("{} bytes; more than 64 MiB is no topology", text_.size()));
  const pugi::xml_parse_result parsed =
      document.load_buffer(text_.data(), text_.size(), pugi::parse_default, pugi::encoding_utf8);
  if (!parsed) return at(parsed.offset, fmt::format("not well-formed XML: {}", parsed.description()));
  const pugi::xml_node first = document.document_element();
  if (std::string_view(first.name()) != root) {
    return bad(first, fmt::format("the root element is <{}>, not <{}>", first.name(), root));
  }
  for (pugi::xml_node next = first.next_sibling(); next; next = next.next_sibling()) {
    if (next.type() == pugi::node_element)
      return bad(next, fmt::format("a second root element <{}>", next.name()));
  }
  return {};
}

Status XmlText::number(const pugi::xml_node& node, const char* name, int64_t least, int64_t most,
                       int64_t& value) const {
  const pugi::xml_attribute attribute = node.attribute(name);
  if (!attribute) return bad(node, fmt::format("<{}> has no {}", node.name(), name));
  if (!parse(attribute.value(), value)) {
    return bad(node,
               fmt::format("{}=\"{}\" of <{}> is not a whole number", name, attribute.value(), node.name()));
  }
  if (value < least || value > most) {
    return bad(node,
               fmt::format("{}={} of <{}> is not within {} to {}", name, value, node.name(), least, most));
  }
  return {};
}

Status XmlText::number_or(const pugi::xml_node& node, const char* name, int64_t least, int64_t most,
                          int64_t absent, int64_t& value) const {
  value = absent;
  return node.attribute(name).empty() || *node.attribute(name).value() == '\0'
             ? Status()
             : number(node, name, least, most, value);
}

}  // namespace comity::topology
