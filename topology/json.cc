#include "topology/json.h"

#include <fmt/core.h>

#include <charconv>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "topology/paths.h"

namespace comity::topology {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostBytes = size_t{1} << 30;

Json write_node(const Node& node) {
  Json json = {{"id", node.id}, {"kind", name_of(node.kind)}, {"name", node.name}};
  if (node.host == kNoHost) {
    json["host"] = nullptr;
  } else {
    json["host"] = node.host;
  }
  json["vendor"] = node.vendor;
  json["numa"] = node.numa;
  json["bus_id"] = node.bus_id;
  if (!node.attributes.empty()) json["attributes"] = node.attributes;
  return json;
}

Json write_link(const Graph& graph, const Link& link) {
  Json json = {{"from", graph.nodes[link.from].id}, {"to", graph.nodes[link.to].id},
               {"kind", name_of(link.kind)},        {"bandwidth_bytes_per_s", link.bandwidth_bytes_per_s},
               {"latency_ns", link.latency_ns},     {"count", link.count},
               {"source", name_of(link.source)}};
  if (!link.shared.empty()) json["shared"] = link.shared;
  if (!link.attributes.empty()) json["attributes"] = link.attributes;
  return json;
}

Json write_sets(const Graph& graph, const std::vector<std::vector<uint32_t>>& sets) {
  Json json = Json::array();
  for (const auto& set : sets) {
    Json ids = Json::array();
    for (uint32_t node : set) ids.push_back(graph.nodes[node].id);
    json.push_back(std::move(ids));
  }
  return json;
}

// Reads the fields of one object; the first thing that is wrong is kept, with its place.
class Fields {
 public:
  Fields(const Json& json, std::string place, std::initializer_list<std::string_view> known)
      : json_(json), place_(std::move(place)) {
    if (!json.is_object()) {
      fail("is not an object");
      return;
    }
    for (const auto& [key, value] : json.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(fmt::format("has no field \"{}\"", key));
    }
  }

  std::string text(const char* key, bool required = true) {
    const Json* value = get(key, required);
    if (value == nullptr) return {};
    if (!value->is_string()) return fail(fmt::format("\"{}\" is not a text", key)), std::string();
    return value->get<std::string>();
  }
  template <typename Number>
  Number number(const char* key, Number otherwise, bool required = true) {
    const Json* value = get(key, required);
    if (value == nullptr) return otherwise;
    const bool fits =
        value->is_number_unsigned()
            ? value->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<Number>::max())
            : value->is_number_integer() && std::is_signed_v<Number> &&
                  value->get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<Number>::min());
    if (!fits) return fail(fmt::format("\"{}\" is not an integer that fits", key)), otherwise;
    return value->get<Number>();
  }
  template <typename Kind>
  Kind named(const char* key, Kind otherwise) {
    const std::string name = text(key);
    Kind kind = otherwise;
    if (status_.ok() && !parse(name, kind)) fail(fmt::format("\"{}\": there is no \"{}\"", key, name));
    return kind;
  }
  uint32_t host() {
    const Json* value = get("host", true);
    return value == nullptr || value->is_null() ? kNoHost : number<uint32_t>("host", kNoHost);
  }
  std::map<std::string, std::string> attributes() {
    const Json* value = get("attributes", false);
    std::map<std::string, std::string> attributes;
    if (value == nullptr) return attributes;
    if (!value->is_object()) return fail("\"attributes\" is not an object"), attributes;
    for (const auto& [key, text] : value->items()) {
      if (!text.is_string()) return fail(fmt::format("attribute \"{}\" is not a text", key)), attributes;
      attributes[key] = text.get<std::string>();
    }
    return attributes;
  }
  const Json* array(const char* key, bool required) {
    const Json* value = get(key, required);
    if (value != nullptr && !value->is_array())
      return fail(fmt::format("\"{}\" is not an array", key)), nullptr;
    return value;
  }
  void fail(const std::string& reason) {
    if (status_.ok()) status_ = Status(Code::kInvalidArgument, fmt::format("{} {}", place_, reason));
  }
  const Status& status() const { return status_; }

 private:
  const Json* get(const char* key, bool required) {
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(key);
    if (found != json_.end()) return &*found;
    if (required) fail(fmt::format("lacks \"{}\"", key));
    return nullptr;
  }

  const Json& json_;
  std::string place_;
  Status status_;
};

Result<Node> read_node(const Json& json, size_t index) {
  Fields fields(json, fmt::format("nodes[{}]", index),
                {"id", "kind", "name", "host", "vendor", "numa", "bus_id", "attributes"});
  Node node;
  node.id = fields.text("id");
  node.kind = fields.named("kind", NodeKind::kHost);
  node.name = fields.text("name", false);
  node.host = fields.host();
  node.vendor = fields.text("vendor", false);
  node.numa = fields.number<int32_t>("numa", -1, false);
  node.bus_id = fields.text("bus_id", false);
  node.attributes = fields.attributes();
  if (fields.status().ok() && node.id.empty()) fields.fail("has an empty \"id\"");
  COMITY_RETURN_IF_ERROR(fields.status());
  return node;
}

using Ids = std::unordered_map<std::string, uint32_t>;

Result<Link> read_link(const Json& json, size_t index, const Ids& ids) {
  Fields fields(json, fmt::format("links[{}]", index),
                {"from", "to", "kind", "bandwidth_bytes_per_s", "latency_ns", "count", "source", "shared",
                 "attributes"});
  Link link;
  const auto end = [&](const char* key) {
    const std::string id = fields.text(key);
    const auto found = ids.find(id);
    if (fields.status().ok() && found == ids.end())
      fields.fail(fmt::format("\"{}\": there is no node \"{}\"", key, id));
    return found == ids.end() ? 0 : found->second;
  };
  link.from = end("from");
  link.to = end("to");
  link.kind = fields.named("kind", LinkKind::kPcie);
  link.bandwidth_bytes_per_s = fields.number<uint64_t>("bandwidth_bytes_per_s", 0);
  link.latency_ns = fields.number<uint64_t>("latency_ns", 0, false);
  link.count = fields.number<uint32_t>("count", 1, false);
  link.source = fields.named("source", Source::kGuess);
  link.shared = fields.text("shared", false);
  link.attributes = fields.attributes();
  COMITY_RETURN_IF_ERROR(fields.status());
  return link;
}

Result<Graph> read_graph(const Json& json) {
  Fields fields(json, "the file", {"version", "hash", "nodes", "links", "islands", "rails", "origin"});
  const int version = fields.number<int>("version", 0);
  if (fields.status().ok() && version != kJsonVersion)
    fields.fail(fmt::format("is of version {}, and this Comity reads version {}", version, kJsonVersion));
  const Json* nodes = fields.array("nodes", true);
  const Json* links = fields.array("links", true);
  COMITY_RETURN_IF_ERROR(fields.status());
  Graph graph;
  Ids ids;
  for (size_t i = 0; i < nodes->size(); ++i) {
    COMITY_ASSIGN_OR_RETURN(Node node, read_node((*nodes)[i], i));
    if (!ids.emplace(node.id, static_cast<uint32_t>(i)).second)
      return Status(Code::kInvalidArgument,
                    fmt::format("nodes[{}]: the id \"{}\" is used twice", i, node.id));
    graph.add(std::move(node));
  }
  for (size_t i = 0; i < links->size(); ++i) {
    COMITY_ASSIGN_OR_RETURN(Link link, read_link((*links)[i], i, ids));
    graph.add(std::move(link));
  }
  COMITY_RETURN_IF_ERROR(validate(graph));
  return graph;
}

}  // namespace

std::string to_json(const Graph& graph) {
  Json json = {{"version", kJsonVersion}, {"hash", fmt::format("{:016x}", hash(graph))}};
  Json nodes = Json::array(), links = Json::array();
  for (const Node& node : graph.nodes) nodes.push_back(write_node(node));
  for (const Link& link : graph.links) links.push_back(write_link(graph, link));
  json["nodes"] = std::move(nodes);
  json["links"] = std::move(links);
  json["islands"] = write_sets(graph, islands(graph));
  json["rails"] = write_sets(graph, rails(graph));
  // Texts from outside may be no UTF-8: what is not is replaced, never an exception.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Graph> from_json(std::string_view text, const std::string& origin) {
  if (text.size() > kMostBytes)
    return Status(Code::kInvalidArgument, fmt::format("{}: longer than {} bytes", origin, kMostBytes));
  try {
    const Json json = Json::parse(text);
    auto graph = read_graph(json);
    if (!graph.ok()) return graph.status().in(origin);
    graph->origin = origin;
    canonicalize(*graph);
    return graph;
  } catch (const std::exception& error) {
    return Status(Code::kInvalidArgument, fmt::format("{}: {}", origin, error.what()));
  }
}

}  // namespace comity::topology
