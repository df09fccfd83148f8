// The parser of the notation: recursive descent over the grammar of docs/notation.md.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "topology/catalogue/caret.h"
#include "topology/catalogue/notation.h"

namespace comity::topology {
namespace {

constexpr uint32_t kMostEdits = 1024;
constexpr uint32_t kMostSwitches = 1024;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_name(char c) {
  return is_name_start(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// But for the case of letters.
bool is_same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char one, char other) { return lower(one) == lower(other); });
}

struct Unit {
  std::string_view text;
  double bytes;
  bool any_case = false;  // "bit" tells bits from bytes; else the case of the b does
};
constexpr Unit kUnits[] = {{"TB/s", 1e12},
                           {"GB/s", 1e9},
                           {"MB/s", 1e6},
                           {"Tbit/s", 1.25e11, true},
                           {"Gbit/s", 1.25e8, true},
                           {"Mbit/s", 1.25e5, true},
                           {"Tb/s", 1.25e11},
                           {"Gb/s", 1.25e8},
                           {"Mb/s", 1.25e5},
                           {"Tbps", 1.25e11},
                           {"Gbps", 1.25e8},
                           {"Mbps", 1.25e5}};

// The unit that a text begins with; nullptr: none.
const Unit* unit_at(std::string_view text) {
  for (const Unit& each : kUnits) {
    const std::string_view begin = text.substr(0, each.text.size());
    if (each.any_case ? is_same_word(begin, each.text) : begin == each.text) return &each;
  }
  return nullptr;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Notation> parse() {
    do {
      COMITY_RETURN_IF_ERROR(group());
    } while (take('+'));
    if (word_is("via")) {
      at_ += 3;
      COMITY_RETURN_IF_ERROR(fabric());
    }
    while (peek() == '-' || peek() == '~') COMITY_RETURN_IF_ERROR(edit());
    if (peek() == 0) return std::move(read_);
    if (peek() == '*') return wrong("the number stands before the machine, as 2*dgx-h100");
    return wrong(read_.fabric.column > 0 || !read_.edits.empty()
                     ? "expected - link(...), ~ link(...) or the end"
                     : "expected +, via, - link(...), ~ link(...) or the end");
  }

 private:
  Status wrong(std::string_view why) const { return wrong(at_, why); }
  Status wrong(size_t column, std::string_view why) const { return caret_error(text_, column, why); }

  // The next character that is no blank, 0 at the end.
  char peek() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || c == 0) return false;
    ++at_;
    return true;
  }
  Status expect(char c) {
    if (take(c)) return {};
    return wrong(fmt::format("expected {}", c));
  }
  // The name that begins here, not taken; empty if none does.
  std::string_view word() {
    if (!is_name_start(peek())) return {};
    size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    return text_.substr(at_, end - at_);
  }
  bool word_is(std::string_view name) { return word() == name; }

  Result<uint32_t> whole(std::string_view what, uint32_t least, uint32_t most) {
    if (!is_digit(peek())) return wrong(fmt::format("expected {}: a whole number", what));
    const size_t begin = at_;
    uint64_t value = 0;
    while (at_ < text_.size() && is_digit(text_[at_])) {
      value = std::min<uint64_t>(value * 10 + static_cast<uint64_t>(text_[at_] - '0'), UINT32_MAX);
      ++at_;
    }
    if (value < least || value > most)
      return wrong(begin, fmt::format("{} is from {} to {}", what, least, most));
    return static_cast<uint32_t>(value);
  }

  // "50GB/s", "12.5 GB/s", "400Gbit/s": bytes/s.
  Result<uint64_t> speed() {
    if (!is_digit(peek())) return wrong("expected a speed, as 50GB/s or 400Gbit/s");
    const size_t begin = at_;
    double value = 0, unit = 1;
    bool fraction = false;
    for (; at_ < text_.size() && (is_digit(text_[at_]) || (text_[at_] == '.' && !fraction)); ++at_) {
      if (text_[at_] == '.') {
        fraction = true;
        continue;
      }
      value = value * 10 + (text_[at_] - '0');
      if (fraction) unit *= 10;
    }
    peek();
    const Unit* unit_said = unit_at(text_.substr(at_));
    if (unit_said == nullptr) return wrong(unit_advice());
    at_ += unit_said->text.size();
    const double bytes = value / unit * unit_said->bytes;
    if (!(bytes >= 1 && bytes <= 1e15)) return wrong(begin, "a speed is from 1 byte/s to 1000 TB/s");
    return static_cast<uint64_t>(std::llround(bytes));
  }

  std::string_view unit_advice() const {
    for (const std::string_view vague : {"gb/s", "mb/s", "tb/s", "gbps", "mbps", "tbps"}) {
      if (is_same_word(text_.substr(at_, vague.size()), vague))
        return "are bits or bytes meant? Write Gbit/s for bits, GB/s for bytes (or Mbit/s, MB/s, Tbit/s, "
               "TB/s)";
    }
    return "expected a unit: GB/s, MB/s, TB/s, Gbit/s, Mbit/s or Tbit/s";
  }

  // "2*m", and as people write it "2x m", "2xm", "2 x m".
  bool take_times() {
    if (take('*') || take('x') || take('X')) return true;
    constexpr std::string_view kTimes = "\xc3\x97";  // the sign itself
    if (text_.substr(at_, kTimes.size()) != kTimes) return false;
    at_ += kTimes.size();
    return true;
  }

  Status group() {
    Notation::Group group;
    if (is_digit(peek())) {
      COMITY_ASSIGN_OR_RETURN(group.count, whole("the number of machines", 1, kMostNotationHosts));
      if (!take_times()) return wrong("expected * between number and machine, as 2*dgx-h100");
    }
    const std::string_view name = word();
    group.column = at_;
    if (name.empty()) return wrong("expected a machine of the catalogue, as 2*dgx-h100");
    group.machine = name;
    at_ += name.size();
    if (take('{')) {
      do {
        COMITY_RETURN_IF_ERROR(option(group.variant));
      } while (take(','));
      if (!take('}')) return wrong("expected , or }");
    }
    read_.groups.push_back(std::move(group));
    return {};
  }

  Status option(MachineVariant& variant) {
    const std::string_view name = word();
    const size_t column = at_;
    at_ += name.size();
    if (name != "slices" && name != "devices" && name != "nics" && name != "nic_speed")
      return wrong(column, "expected slices=, devices=, nics= or nic_speed=");
    COMITY_RETURN_IF_ERROR(expect('='));
    if (name == "slices") {
      COMITY_ASSIGN_OR_RETURN(variant.slices, whole("the number of slices", 1, kMostSlices));
    } else if (name == "devices") {
      COMITY_ASSIGN_OR_RETURN(variant.devices, whole("the number of devices", 0, 1024));
    } else if (name == "nic_speed") {
      if (!variant.nic_bytes_per_s.empty()) return wrong(column, "the NICs' speed is said twice");
      COMITY_ASSIGN_OR_RETURN(const uint64_t bytes_per_s, speed());
      variant.nic_bytes_per_s = {bytes_per_s};
    } else if (take('[')) {
      if (!variant.nic_bytes_per_s.empty()) return wrong(column, "the NICs' speed is said twice");
      do {
        COMITY_ASSIGN_OR_RETURN(const uint64_t bytes_per_s, speed());
        variant.nic_bytes_per_s.push_back(bytes_per_s);
      } while (take(','));
      if (!take(']')) return wrong("expected , or ]");
      variant.nics = static_cast<uint32_t>(variant.nic_bytes_per_s.size());
    } else {
      COMITY_ASSIGN_OR_RETURN(variant.nics, whole("the number of NICs", 0, 1024));
    }
    return {};
  }

  Status fabric() {
    Notation::Fabric& fabric = read_.fabric;
    const std::string_view name = word();
    fabric.column = at_;
    at_ += name.size();
    using Shape = Notation::Fabric::Shape;
    fabric.shape = name == "rail"       ? Shape::kRail
                   : name == "switch"   ? Shape::kSwitch
                   : name == "fat_tree" ? Shape::kFatTree
                                        : Shape::kNone;
    if (fabric.shape == Shape::kNone) {
      return wrong(fabric.column,
                   "expected rail(RAILS, SPEED), switch(SPEED) or fat_tree(HOSTS_PER_LEAF, SPINES, SPEED)");
    }
    COMITY_RETURN_IF_ERROR(expect('('));
    if (fabric.shape == Shape::kFatTree) {
      COMITY_ASSIGN_OR_RETURN(fabric.hosts_per_leaf,
                              whole("the number of hosts of a leaf", 1, kMostNotationHosts));
      COMITY_RETURN_IF_ERROR(expect(','));
    }
    if (fabric.shape != Shape::kSwitch) {
      COMITY_ASSIGN_OR_RETURN(fabric.switches, whole(fabric.shape == Shape::kRail ? "the number of rails"
                                                                                  : "the number of spines",
                                                     1, kMostSwitches));
      COMITY_RETURN_IF_ERROR(expect(','));
    }
    COMITY_ASSIGN_OR_RETURN(fabric.bandwidth_bytes_per_s, speed());
    if (take(',')) {
      std::string network(word());
      const size_t size = network.size();
      std::transform(network.begin(), network.end(), network.begin(), lower);
      LinkKind kind = LinkKind::kEthernet;
      if (!topology::parse(network, kind) || !is_network(kind))
        return wrong("expected a network: infiniband, roce or ethernet");
      fabric.network = std::move(network);
      at_ += size;
    }
    return expect(')');
  }

  Result<std::string> node() {
    const std::string_view name = word();
    if (name.empty()) return wrong("expected the id of a node, as h0.nic3");
    at_ += name.size();
    return std::string(name);
  }

  Status edit() {
    Notation::Edit edit;
    const bool cut = peek() == '-';
    ++at_;
    if (!word_is("link")) return wrong(cut ? "expected - link(NODE)" : "expected ~ link(NODE, SPEED)");
    at_ += 4;
    COMITY_RETURN_IF_ERROR(expect('('));
    peek();
    edit.column = at_;
    COMITY_ASSIGN_OR_RETURN(edit.a, node());
    bool sped = false;
    while (take(',')) {
      if (is_digit(peek()) && !cut) {
        COMITY_ASSIGN_OR_RETURN(edit.bandwidth_bytes_per_s, speed());
        sped = true;
        break;
      }
      if (!edit.b.empty()) return wrong("a link has two ends");
      COMITY_ASSIGN_OR_RETURN(edit.b, node());
    }
    if (!cut && !sped) return wrong("expected the speed that is left, as ~ link(h0.nic3, 10GB/s)");
    COMITY_RETURN_IF_ERROR(expect(')'));
    if (read_.edits.size() == kMostEdits)
      return wrong(edit.column, "more than 1024 links are cut or degraded");
    read_.edits.push_back(std::move(edit));
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  Notation read_;
};

}  // namespace

Status caret_error(std::string_view text, size_t column, std::string_view why) {
  constexpr size_t kShown = 100;
  const size_t begin = column > kShown / 2 && text.size() > kShown ? column - kShown / 2 : 0;
  std::string shown(text.substr(begin, kShown));
  for (char& c : shown) c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return Status(Code::kInvalidArgument, fmt::format("column {}: {}\n  {}\n  {}^", column + 1, why, shown,
                                                    std::string(column - begin, ' ')));
}

Result<Notation> parse_notation(std::string_view text) {
  if (text.size() > kMostNotationBytes)
    return Status(Code::kInvalidArgument,
                  fmt::format("a notation of {} bytes: the most is {}", text.size(), kMostNotationBytes));
  return Parser(text).parse();
}

}  // namespace comity::topology
