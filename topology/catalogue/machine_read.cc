// A machine's file into a Machine. Every field is checked, and unknown ones are refused: a misspelt field
// would else be a silent default.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "topology/catalogue/machine.h"

namespace comity::topology {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint32_t kMostParts = 32;
constexpr uint32_t kMostHosts = 256;
constexpr double kMostGbPerS = 1e6;

// An object of the file and where it stands: "devices.link".
struct Field {
  const Json& json;
  std::string path;

  Status wrong(std::string_view why) const {
    return Status(Code::kInvalidArgument, fmt::format("{}: {}", path.empty() ? "the file" : path, why));
  }
  std::string path_of(std::string_view name) const {
    return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
  }
  bool has(const char* name) const { return json.contains(name); }
  Field at(const char* name) const { return {json.at(name), path_of(name)}; }
};

Status expect_object(const Field& field, std::initializer_list<std::string_view> known) {
  if (!field.json.is_object()) return field.wrong("is not an object");
  for (const auto& item : field.json.items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end())
      return Field{field.json, field.path_of(item.key())}.wrong("no such field is known here");
  }
  return {};
}

Result<std::string> text_of(const Field& field, const char* name, bool needed = true) {
  if (!field.has(name)) {
    if (!needed) return std::string();
    return Status(Code::kInvalidArgument, fmt::format("{}: is missing", field.path_of(name)));
  }
  const Field value = field.at(name);
  if (!value.json.is_string() || value.json.get_ref<const std::string&>().size() > 1000)
    return value.wrong("is no text of up to 1000 bytes");
  return value.json.get<std::string>();
}

// A whole number from `least` to `most`; `absent` if there is no such field.
Result<uint32_t> whole_of(const Field& field, const char* name, uint32_t absent, uint32_t least,
                          uint32_t most) {
  if (!field.has(name)) return absent;
  const Field value = field.at(name);
  if (!value.json.is_number_unsigned() || value.json.get<uint64_t>() < least ||
      value.json.get<uint64_t>() > most)
    return value.wrong(fmt::format("is no whole number from {} to {}", least, most));
  return value.json.get<uint32_t>();
}

Result<Json> parse_json(std::string_view text) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    const size_t end = std::min(error.byte, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(end), '\n');
    return Status(Code::kInvalidArgument, fmt::format("line {}: not JSON: {}", line, error.what()));
  } catch (const Json::exception& error) {
    return Status(Code::kInvalidArgument, fmt::format("not JSON: {}", error.what()));
  }
}

Status read_sources(const Field& file, Machine& machine) {
  if (!file.has("sources")) return Status(Code::kInvalidArgument, "sources: is missing");
  const Field sources = file.at("sources");
  if (!sources.json.is_object()) return sources.wrong("is not an object");
  for (const auto& item : sources.json.items()) {
    const Field source{item.value(), sources.path_of(item.key())};
    Machine::SourceNote note{item.key(), "", false};
    if (item.value().is_string()) {
      note.text = item.value().get<std::string>();
    } else {
      COMITY_RETURN_IF_ERROR(expect_object(source, {"text", "weak"}));
      COMITY_ASSIGN_OR_RETURN(note.text, text_of(source, "text"));
      if (source.has("weak")) {
        if (!source.at("weak").json.is_boolean()) return source.at("weak").wrong("is neither true nor false");
        note.weak = source.at("weak").json.get<bool>();
      }
    }
    if (note.text.empty()) return source.wrong("names no document");
    machine.sources.push_back(std::move(note));
  }
  return {};
}

Status read_bandwidth(const Field& field, MachineLink& link) {
  if (!field.has("gb_per_s")) return field.wrong("gb_per_s is missing");
  const Field value = field.at("gb_per_s");
  const double figure = value.json.is_number() ? value.json.get<double>() : -1;
  if (!(figure > 0 && figure <= kMostGbPerS))
    return value.wrong("is no number above 0 and up to a million: GB/s (1e9) one way");
  link.bandwidth_bytes_per_s = static_cast<uint64_t>(std::llround(figure * 1e9));
  return {};
}

Result<MachineLink> read_link(const Field& parent, const char* name, LinkKind kind, const Machine& machine) {
  if (!parent.has(name))
    return Status(Code::kInvalidArgument, fmt::format("{}: is missing", parent.path_of(name)));
  const Field field = parent.at(name);
  COMITY_RETURN_IF_ERROR(expect_object(field, {"gb_per_s", "latency_ns", "count", "source", "kind"}));
  MachineLink link;
  link.kind = kind;
  COMITY_RETURN_IF_ERROR(read_bandwidth(field, link));
  COMITY_ASSIGN_OR_RETURN(link.latency_ns, whole_of(field, "latency_ns", 0, 1, 1'000'000'000));
  COMITY_ASSIGN_OR_RETURN(link.count, whole_of(field, "count", 1, 1, 1024));
  COMITY_ASSIGN_OR_RETURN(const std::string key, text_of(field, "source"));
  const auto note = std::find_if(machine.sources.begin(), machine.sources.end(),
                                 [&key](const Machine::SourceNote& each) { return each.key == key; });
  if (note == machine.sources.end())
    return field.at("source").wrong(fmt::format("\"{}\" is not among the sources", key));
  link.source = note->weak ? Source::kGuess : Source::kDataSheet;
  COMITY_ASSIGN_OR_RETURN(const std::string other_kind, text_of(field, "kind", false));
  if (!other_kind.empty() && !parse(other_kind, link.kind))
    return field.at("kind").wrong(fmt::format("there is no link kind \"{}\"", other_kind));
  return link;
}

// "numa1", "switch2", "gpu3".
Result<MachineAnchor> read_anchor(const Field& field, const Machine& machine) {
  struct Kind {
    std::string_view prefix;
    NodeKind kind;
    uint32_t count;
  };
  const std::string text = field.json.is_string() ? field.json.get<std::string>() : "";
  for (const Kind& kind : {Kind{"numa", NodeKind::kNuma, machine.numa_count},
                           Kind{"switch", NodeKind::kPcieSwitch, machine.switches.count},
                           Kind{"gpu", NodeKind::kDevice, machine.devices.count}}) {
    if (text.rfind(kind.prefix, 0) != 0) continue;
    const std::string digits = text.substr(kind.prefix.size());
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos)
      break;
    const auto index = static_cast<uint32_t>(std::stoul(digits));
    if (index >= kind.count) return field.wrong(fmt::format("there is no {}", text));
    return MachineAnchor{kind.kind, index};
  }
  return field.wrong("is none of numaN, switchN, gpuN");
}

// Without "at", the parts spread evenly and in order over the switches, or over the NUMA domains.
Status read_anchors(const Field& field, const Machine& machine, bool below_switches, MachinePart& part) {
  if (!field.has("at")) {
    const uint32_t switches = below_switches ? machine.switches.count : 0;
    const NodeKind kind = switches > 0 ? NodeKind::kPcieSwitch : NodeKind::kNuma;
    const uint32_t anchors = switches > 0 ? switches : machine.numa_count;
    for (uint32_t i = 0; i < part.count; ++i) part.at.push_back({kind, i * anchors / part.count});
    return {};
  }
  const Field at = field.at("at");
  if (!at.json.is_array() || at.json.size() != part.count)
    return at.wrong(fmt::format("is no array of {} places", part.count));
  for (size_t i = 0; i < at.json.size(); ++i) {
    COMITY_ASSIGN_OR_RETURN(const MachineAnchor anchor,
                            read_anchor({at.json[i], fmt::format("{}[{}]", at.path, i)}, machine));
    part.at.push_back(anchor);
  }
  return {};
}

Result<MachinePart> read_part(const Field& field, const Machine& machine, bool below_switches, bool is_nic) {
  COMITY_RETURN_IF_ERROR(expect_object(
      field, is_nic ? std::initializer_list<std::string_view>{"count", "name", "vendor", "at", "link", "port",
                                                              "network"}
                    : std::initializer_list<std::string_view>{"count", "name", "vendor", "at", "link"}));
  MachinePart part;
  if (!field.has("count")) return field.wrong("count is missing");
  COMITY_ASSIGN_OR_RETURN(part.count, whole_of(field, "count", 0, 1, kMostParts));
  COMITY_ASSIGN_OR_RETURN(part.name, text_of(field, "name"));
  COMITY_ASSIGN_OR_RETURN(part.vendor, text_of(field, "vendor", false));
  COMITY_RETURN_IF_ERROR(read_anchors(field, machine, below_switches, part));
  COMITY_ASSIGN_OR_RETURN(part.link, read_link(field, "link", LinkKind::kPcie, machine));
  if (!is_nic) return part;
  COMITY_ASSIGN_OR_RETURN(const std::string network, text_of(field, "network"));
  LinkKind kind = LinkKind::kEthernet;
  if (!parse(network, kind) || !is_network(kind))
    return field.at("network").wrong(fmt::format("\"{}\" is none of infiniband, roce, ethernet", network));
  COMITY_ASSIGN_OR_RETURN(part.port, read_link(field, "port", kind, machine));
  return part;
}

Status read_numa(const Field& file, Machine& machine) {
  if (!file.has("numa")) return Status(Code::kInvalidArgument, "numa: is missing");
  const Field field = file.at("numa");
  COMITY_RETURN_IF_ERROR(expect_object(field, {"count", "cpu", "arch", "memory", "link"}));
  COMITY_ASSIGN_OR_RETURN(machine.numa_count, whole_of(field, "count", 1, 1, kMostParts));
  COMITY_ASSIGN_OR_RETURN(machine.cpu, text_of(field, "cpu"));
  COMITY_ASSIGN_OR_RETURN(machine.arch, text_of(field, "arch"));
  COMITY_ASSIGN_OR_RETURN(machine.memory, read_link(field, "memory", LinkKind::kMemory, machine));
  // Domains of one CPU have no link between them that a data sheet would price: said by null, not by silence.
  if (machine.numa_count > 1 && !(field.has("link") && field.at("link").json.is_null())) {
    COMITY_ASSIGN_OR_RETURN(machine.cpu_link, read_link(field, "link", LinkKind::kCpu, machine));
  }
  return {};
}

Status read_pairs(const Field& field, const Machine& machine, MachineFabric& fabric) {
  if (!field.has("pairs")) return field.wrong("pairs is missing: [[0, 1, COUNT], ...]");
  const Field pairs = field.at("pairs");
  if (!pairs.json.is_array()) return pairs.wrong("is no array");
  for (size_t i = 0; i < pairs.json.size(); ++i) {
    const Json& pair = pairs.json[i];
    const bool good = pair.is_array() && (pair.size() == 2 || pair.size() == 3) &&
                      std::all_of(pair.begin(), pair.end(), [](const Json& each) {
                        return each.is_number_unsigned() && each.get<uint64_t>() <= 1024;
                      });
    if (!good) return pairs.wrong(fmt::format("[{}] is no [device, device, count]", i));
    const MachineFabric::Pair read{pair[0].get<uint32_t>(), pair[1].get<uint32_t>(),
                                   pair.size() == 3 ? pair[2].get<uint32_t>() : fabric.link.count};
    if (read.a >= machine.devices.count || read.b >= machine.devices.count || read.a == read.b ||
        read.count == 0)
      return pairs.wrong(fmt::format("[{}] joins no two of {} devices", i, machine.devices.count));
    fabric.pairs.push_back(read);
  }
  return {};
}

Result<MachineFabric> read_fabric(const Field& field, const Machine& machine) {
  COMITY_RETURN_IF_ERROR(
      expect_object(field, {"shape", "kind", "name", "vendor", "link", "group", "all_hosts", "pairs"}));
  MachineFabric fabric;
  COMITY_ASSIGN_OR_RETURN(const std::string kind_text, text_of(field, "kind"));
  LinkKind kind = LinkKind::kVendor;
  if (!parse(kind_text, kind))
    return field.at("kind").wrong(fmt::format("there is no link kind \"{}\"", kind_text));
  COMITY_ASSIGN_OR_RETURN(fabric.link, read_link(field, "link", kind, machine));
  COMITY_ASSIGN_OR_RETURN(fabric.name, text_of(field, "name", false));
  COMITY_ASSIGN_OR_RETURN(fabric.vendor, text_of(field, "vendor", false));
  COMITY_ASSIGN_OR_RETURN(fabric.group, whole_of(field, "group", 0, 2, kMostParts));
  fabric.all_hosts = field.has("all_hosts") && field.json.at("all_hosts") == true;
  COMITY_ASSIGN_OR_RETURN(const std::string shape, text_of(field, "shape"));
  if (shape == "switch") {
    fabric.shape = MachineFabric::Shape::kSwitch;
  } else if (shape == "mesh") {
    fabric.shape = MachineFabric::Shape::kMesh;
  } else if (shape == "list") {
    fabric.shape = MachineFabric::Shape::kList;
    COMITY_RETURN_IF_ERROR(read_pairs(field, machine, fabric));
  } else {
    return field.at("shape").wrong("is none of switch, mesh, list");
  }
  if (fabric.all_hosts && fabric.shape != MachineFabric::Shape::kSwitch)
    return field.at("all_hosts").wrong("only a fabric of shape \"switch\" joins all hosts");
  return fabric;
}

Status read_parts(const Field& file, Machine& machine) {
  if (file.has("switches")) {
    COMITY_ASSIGN_OR_RETURN(machine.switches, read_part(file.at("switches"), machine, false, false));
  }
  if (file.has("devices")) {
    COMITY_ASSIGN_OR_RETURN(machine.devices, read_part(file.at("devices"), machine, true, false));
  }
  for (const char* name : {"nics", "fabric"}) {
    if (!file.has(name)) continue;
    const Field list = file.at(name);
    if (!list.json.is_array() || list.json.size() > kMostParts) return list.wrong("is no array of up to 32");
    for (size_t i = 0; i < list.json.size(); ++i) {
      const Field each{list.json[i], fmt::format("{}[{}]", list.path, i)};
      if (name[0] == 'n') {
        COMITY_ASSIGN_OR_RETURN(MachinePart part, read_part(each, machine, true, true));
        machine.nics.push_back(std::move(part));
      } else {
        COMITY_ASSIGN_OR_RETURN(MachineFabric fabric, read_fabric(each, machine));
        machine.fabrics.push_back(std::move(fabric));
      }
    }
  }
  return {};
}

}  // namespace

Result<Machine> parse_machine(std::string_view json) {
  COMITY_ASSIGN_OR_RETURN(const Json parsed, parse_json(json));
  const Field file{parsed, ""};
  COMITY_RETURN_IF_ERROR(expect_object(
      file, {"name", "title", "sources", "hosts", "numa", "switches", "devices", "nics", "fabric"}));
  Machine machine;
  COMITY_ASSIGN_OR_RETURN(machine.name, text_of(file, "name"));
  COMITY_ASSIGN_OR_RETURN(machine.title, text_of(file, "title"));
  COMITY_ASSIGN_OR_RETURN(machine.hosts, whole_of(file, "hosts", 1, 1, kMostHosts));
  COMITY_RETURN_IF_ERROR(read_sources(file, machine));
  COMITY_RETURN_IF_ERROR(read_numa(file, machine));
  COMITY_RETURN_IF_ERROR(read_parts(file, machine));
  return machine;
}

}  // namespace comity::topology
