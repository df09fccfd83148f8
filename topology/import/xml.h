// What the importers of XML share: loading with limits, errors with lines, attributes as numbers. Internal to
// them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "comity/plugin/result.h"

namespace pugi {
class xml_document;
class xml_node;
}  // namespace pugi

namespace comity::topology {

// A document and its text, for lines. The text is the caller's and outlives this.
class XmlText {
 public:
  XmlText(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}
  // Into `document`; refused: over 64 MiB, not well-formed, or another root than one `root`.
  Status load(pugi::xml_document& document, const char* root) const;
  const std::string& origin() const { return origin_; }
  // From 1. Counts from the beginning of the text.
  size_t line_of(const pugi::xml_node& node) const;
  // kInvalidArgument "<origin>:<line of node>: <reason>".
  Status bad(const pugi::xml_node& node, const std::string& reason) const;
  // A whole number in decimal or 0x; refused when absent or not one of `least` to `most`.
  Status number(const pugi::xml_node& node, const char* name, int64_t least, int64_t most,
                int64_t& value) const;
  // The same with a value for an absent or empty attribute.
  Status number_or(const pugi::xml_node& node, const char* name, int64_t least, int64_t most, int64_t absent,
                   int64_t& value) const;

 private:
  size_t line_at(ptrdiff_t offset) const;
  Status at(ptrdiff_t offset, const std::string& reason) const;
  std::string_view text_;
  const std::string& origin_;
};

}  // namespace comity::topology
