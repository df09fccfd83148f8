#include "topology/import/ibnetdiscover.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <tuple>

#include "topology/import/ib_hosts.h"
#include "topology/import/text_lines.h"

namespace comity::topology {

namespace {

struct Cable {
  uint32_t port = 0, peer_port = 0;
  std::string peer;
  uint64_t bytes_per_s = 0;
  size_t line = 0;
  uint32_t node = 0;  // of the graph
};

struct Record {
  bool adapter = false;      // else a switch or a router
  bool aggregation = false;  // the adapter within a switch that reduces: no host's
  std::string id, name, guid, system_guid, vendor;
  size_t line = 0;
  std::map<uint32_t, Cable> cables;  // by port
};

// Data of one lane one way in bits/s, after the line code (InfiniBand Architecture Specification, volume 1):
// 8b/10b up to QDR, 64b/66b from FDR10.
uint64_t lane_bits_per_s(std::string_view speed) {
  constexpr std::pair<std::string_view, uint64_t> kSpeeds[] = {
      {"SDR", 2'000'000'000},    {"DDR", 4'000'000'000},   {"QDR", 8'000'000'000},
      {"FDR10", 10'000'000'000}, {"FDR", 13'636'000'000},  {"EDR", 25'000'000'000},
      {"HDR", 50'000'000'000},   {"NDR", 100'000'000'000}, {"XDR", 200'000'000'000}};
  for (const auto& [name, bits] : kSpeeds) {
    if (speed == name) return bits;
  }
  return 0;
}

// "4xHDR"; 0: none of it.
uint64_t bytes_per_s(const std::string& word) {
  const size_t cross = word.find('x');
  uint64_t width = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + std::min(cross, word.size()), width);
  if (cross == std::string::npos || error != std::errc() || end != word.data() + cross || width > 12)
    return 0;
  return width * lane_bits_per_s(std::string_view(word).substr(cross + 1)) / 8;
}

// `"text"` from `at`; leaves `at` after it.
bool quoted(const std::string& text, size_t& at, std::string& value) {
  const size_t from = text.find('"', at);
  const size_t to = from == std::string::npos ? from : text.find('"', from + 1);
  if (to == std::string::npos) return false;
  value = text.substr(from + 1, to - from - 1);
  at = to + 1;
  return true;
}

// `[12]` at `at`; leaves `at` after it.
bool bracketed(const std::string& text, size_t& at, uint32_t& value) {
  if (at >= text.size() || text[at] != '[') return false;
  const auto [end, error] = std::from_chars(text.data() + at + 1, text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() + text.size() || *end != ']') return false;
  at = static_cast<size_t>(end - text.data()) + 1;
  return true;
}

class Reader {
 public:
  explicit Reader(const std::string& origin) : origin_(origin) {}
  Result<Imported> read(const std::vector<TextLine>& lines);

 private:
  Status read_record(const TextLine& line, const std::string& kind);
  Status read_cable(const TextLine& line);
  void read_word(const TextLine& line, const std::string& word);
  Status check() const;
  void find_aggregation();
  std::vector<uint32_t> add_hosts();  // the node of each record's host
  void add_nodes();
  void add_adapter(Record& record, Node node, uint32_t host);
  void add_links();

  const std::string& origin_;
  std::vector<Record> records_;
  std::map<std::string, size_t> by_id_;
  std::string vendor_, guid_, system_guid_;  // of the record to come
  Graph graph_;
  Notes notes_;
};

// Switch 36 "S-0002c9020040aab8"   # "name" enhanced port 0 lid 4 lmc 0
Status Reader::read_record(const TextLine& line, const std::string& kind) {
  Record record;
  record.adapter = kind == "Ca";
  record.line = line.number;
  record.guid = guid_, record.system_guid = system_guid_, record.vendor = vendor_;
  size_t at = 0;
  if (!quoted(line.text, at, record.id) || record.id.empty())
    return bad_line(origin_, line.number, kind + " without an id in quotes");
  if (!quoted(line.text, at, record.name)) record.name = record.id;
  if (!by_id_.emplace(record.id, records_.size()).second)
    return bad_line(origin_, line.number, record.id + " is there twice");
  records_.push_back(std::move(record));
  guid_.clear(), system_guid_.clear(), vendor_.clear();
  return {};
}

// [3](100001)  "S-0000000000200001"[3](1000)   # "Switch2" lid 0 4xSDR
Status Reader::read_cable(const TextLine& line) {
  if (records_.empty()) return bad_line(origin_, line.number, "a port before the first Switch, Ca or Rt");
  Cable cable;
  cable.line = line.number;
  size_t at = line.text.find('[');
  if (!bracketed(line.text, at, cable.port)) return bad_line(origin_, line.number, "a port is not as in [3]");
  if (!quoted(line.text, at, cable.peer) || !bracketed(line.text, at, cable.peer_port)) {
    return bad_line(origin_, line.number, "the other end is not as in \"S-0002c9020040aab8\"[3]");
  }
  for (const std::string& word : line.words()) {
    if (bytes_per_s(word) != 0) cable.bytes_per_s = bytes_per_s(word);
  }
  if (cable.bytes_per_s == 0)
    notes_.add(line.number, "no speed of this cable is told that is known, as in 4xNDR");
  Record& record = records_.back();
  if (!record.cables.emplace(cable.port, std::move(cable)).second)
    return bad_line(origin_, line.number, "this port of " + record.id + " is there twice");
  return {};
}

Status Reader::check() const {
  if (records_.empty()) return bad_line(origin_, 1, "no Switch, Ca or Rt record is here");
  for (const Record& record : records_) {
    if (record.cables.empty()) {
      return bad_line(origin_, record.line, record.id + " has no cabled port: the dump is cut off");
    }
    for (const auto& [port, cable] : record.cables) {
      const auto peer = by_id_.find(cable.peer);
      if (peer == by_id_.end())
        return bad_line(origin_, cable.line,
                        fmt::format("{} has no record: the dump is cut off", cable.peer));
      const auto& there = records_[peer->second].cables;
      const auto back = there.find(cable.peer_port);
      if (back == there.end() || back->second.peer != record.id || back->second.peer_port != port) {
        return bad_line(
            origin_, cable.line,
            fmt::format("port {} of {} does not name this port back", cable.peer_port, cable.peer));
      }
      if (peer->second == by_id_.at(record.id))
        return bad_line(origin_, cable.line, "a cable to its own node");
    }
  }
  return {};
}

// By its description, or because it is on a switch's own board.
void Reader::find_aggregation() {
  std::set<std::string> switches;
  for (const Record& record : records_) {
    if (!record.adapter && !record.system_guid.empty()) switches.insert(record.system_guid);
  }
  for (Record& record : records_) {
    record.aggregation = record.adapter && (switches.count(record.system_guid) != 0 ||
                                            record.name.find("Aggregation Node") != std::string::npos);
  }
}

std::vector<uint32_t> Reader::add_hosts() {
  std::vector<IbAdapter> adapters;
  std::vector<size_t> records;
  for (size_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    if (!record.adapter || record.aggregation) continue;
    adapters.push_back({record.guid.empty() ? record.id : record.guid, record.system_guid, record.name});
    records.push_back(i);
  }
  const IbHosts found = group_ib_hosts(adapters);
  std::vector<uint32_t> nodes;
  for (const IbHosts::Host& each : found.hosts) {
    Node host;
    host.host = static_cast<uint32_t>(nodes.size());
    host.name = each.name;
    nodes.push_back(graph_.add(std::move(host)));
  }
  for (const std::string& name : found.ambiguous) {
    notes_.add(
        1, fmt::format("several adapters have one description that begins with \"{}\"; their hosts are told "
                       "apart by system image GUID alone",
                       name));
  }
  std::vector<uint32_t> of_record(records_.size());
  for (size_t i = 0; i < records.size(); ++i) of_record[records[i]] = nodes[found.of_adapter[i]];
  return of_record;
}

void Reader::add_adapter(Record& record, Node node, uint32_t host) {
  node.kind = NodeKind::kNic;
  node.host = graph_.nodes[host].host;
  if (!record.system_guid.empty()) node.attributes["system_guid"] = record.system_guid;
  for (auto& [port, cable] : record.cables) {
    node.name = fmt::format("{} port {}", record.name, port);
    node.attributes["port"] = std::to_string(port);
    if (cable.bytes_per_s != 0)
      node.attributes["net.bandwidth_bytes_per_s"] = std::to_string(cable.bytes_per_s);
    node.attributes["net.kind"] = "infiniband";
    cable.node = graph_.add(node);
    Link link;  // how it hangs within its host is not told
    link.kind = LinkKind::kPcie;
    link.from = cable.node, link.to = host;
    graph_.join(std::move(link));
  }
}

void Reader::add_nodes() {
  find_aggregation();
  const std::vector<uint32_t> hosts = add_hosts();
  for (size_t i = 0; i < records_.size(); ++i) {
    Record& record = records_[i];
    if (record.aggregation) continue;
    Node node;
    node.vendor = record.vendor;
    node.name = record.name;
    node.attributes["guid"] = record.guid.empty() ? record.id : record.guid;
    if (record.adapter) {
      add_adapter(record, std::move(node), hosts[i]);
      continue;
    }
    node.kind = NodeKind::kNetSwitch;
    node.host = kNoHost;
    uint32_t aggregators = 0;
    for (const auto& [port, cable] : record.cables)
      aggregators += records_[by_id_.at(cable.peer)].aggregation ? 1 : 0;
    if (aggregators > 0) node.attributes["aggregation_nodes"] = std::to_string(aggregators);
    const uint32_t index = graph_.add(std::move(node));
    for (auto& [port, cable] : record.cables) cable.node = index;
  }
}

// Each end's record makes its own direction.
void Reader::add_links() {
  std::map<std::tuple<uint32_t, uint32_t, uint64_t>, uint32_t> counts;
  for (const Record& record : records_) {
    for (const auto& [port, cable] : record.cables) {
      const Record& peer = records_[by_id_.at(cable.peer)];
      if (record.aggregation || peer.aggregation) continue;
      const Cable& back = peer.cables.at(cable.peer_port);
      ++counts[{cable.node, back.node, cable.bytes_per_s}];
    }
  }
  for (const auto& [key, count] : counts) {
    Link link;
    link.kind = LinkKind::kInfiniband;
    std::tie(link.from, link.to, link.bandwidth_bytes_per_s) = key;
    link.count = count;
    link.source = link.bandwidth_bytes_per_s != 0 ? Source::kReported : Source::kGuess;
    graph_.add(std::move(link));
  }
}

// What precedes a record: "vendid=0x2c9", "sysimgguid=0x200000", "caguid=0x100003".
void Reader::read_word(const TextLine& line, const std::string& word) {
  const std::string key = word.substr(0, word.find('='));
  const std::string value =
      key.size() < word.size() ? word.substr(key.size() + 1, word.find('(') - key.size() - 1) : "";
  if (key == "vendid") {
    vendor_ = value == "0x2c9" || value == "0x2C9" ? "mellanox" : "";
  } else if (key == "sysimgguid") {
    system_guid_ = value == "0x0" ? "" : value;
  } else if (key == "switchguid" || key == "caguid" || key == "rtguid") {
    guid_ = value;
  } else if (key != "devid" && word != "Chassis" && word != "Non-Chassis" && !records_.empty()) {
    notes_.add(line.number, fmt::format("\"{}\" begins no line of ibnetdiscover; left out", word));
  }
}

Result<Imported> Reader::read(const std::vector<TextLine>& lines) {
  for (const TextLine& line : lines) {
    const std::vector<std::string> words = line.words();
    if (words.empty() || words[0][0] == '#') continue;
    const bool quoted_id = line.text.find('"') != std::string::npos;
    if (quoted_id && (words[0] == "Switch" || words[0] == "Ca" || words[0] == "Rt")) {
      COMITY_RETURN_IF_ERROR(read_record(line, words[0]));
    } else if (quoted_id && words[0][0] == '[') {
      COMITY_RETURN_IF_ERROR(read_cable(line));
    } else {
      read_word(line, words[0]);
    }
  }
  COMITY_RETURN_IF_ERROR(check());
  add_nodes();
  add_links();
  return Imported{std::move(graph_), notes_.warnings(origin_)};
}

}  // namespace

Result<Imported> import_ibnetdiscover(std::string_view text, const std::string& origin) {
  COMITY_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, lines_of(text, origin));
  COMITY_ASSIGN_OR_RETURN(Imported imported, Reader(origin).read(lines));
  COMITY_RETURN_IF_ERROR(validate(imported.graph).in(origin));
  canonicalize(imported.graph);
  imported.graph.origin = origin + " (ibnetdiscover)";
  return imported;
}

}  // namespace comity::topology
