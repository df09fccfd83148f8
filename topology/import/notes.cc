#include "topology/import/notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace comity::topology {

bool Notes::again(const std::string& what) {
  const auto found = known_.find(what);
  if (found == known_.end()) return false;
  ++notes_[found->second].times;
  return true;
}

void Notes::add(size_t line, std::string what) {
  std::replace_if(
      what.begin(), what.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  if (again(what)) return;
  if (notes_.size() == kMost) {
    ++left_out_;
    return;
  }
  known_.emplace(what, notes_.size());
  notes_.push_back({line, std::move(what)});
}

std::vector<std::string> Notes::warnings(const std::string& origin) const {
  std::vector<Note> sorted = notes_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Note& a, const Note& b) { return a.line < b.line; });
  std::vector<std::string> lines;
  for (const Note& note : sorted) {
    const std::string more = note.times == 1 ? "" : fmt::format(" (at {} places)", note.times);
    lines.push_back(fmt::format("{}:{}: {}{}", origin, note.line, note.what, more));
  }
  if (left_out_ > 0) lines.push_back(fmt::format("{}: {} warnings more", origin, left_out_));
  return lines;
}

}  // namespace comity::topology
