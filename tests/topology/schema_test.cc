// The schema of our JSON says what is written and read.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "tests/topology/machines.h"
#include "topology/json.h"

namespace comity::topology {
namespace {

nlohmann::json schema() {
  std::ifstream file(COMITY_SCHEMA);
  return nlohmann::json::parse(file);
}

// All names of a kind, until name_of() knows no more.
template <typename Kind>
std::set<std::string> names() {
  std::set<std::string> all;
  for (int i = 0; i < 256; ++i) {
    const auto kind = static_cast<Kind>(i);
    Kind parsed{};
    const std::string name(name_of(kind));
    if (parse(name, parsed) && parsed == kind) all.insert(name);
  }
  return all;
}

std::set<std::string> listed(const nlohmann::json& list) {
  return {list.begin(), list.end()};
}

std::set<std::string> fields(const nlohmann::json& object) {
  std::set<std::string> all;
  for (const auto& [key, value] : object.items()) all.insert(key);
  return all;
}

TEST(Schema, ListsTheKindsThatThereAre) {
  const auto definitions = schema().at("$defs");
  EXPECT_EQ(listed(definitions["node"]["properties"]["kind"]["enum"]), names<NodeKind>());
  EXPECT_EQ(listed(definitions["link"]["properties"]["kind"]["enum"]), names<LinkKind>());
  EXPECT_EQ(listed(definitions["link"]["properties"]["source"]["enum"]), names<Source>());
}

TEST(Schema, HasTheFieldsThatAreWritten) {
  Graph graph = test::switched_box();
  for (Node& node : graph.nodes) node.attributes["a"] = "b";
  for (Link& link : graph.links) {
    link.attributes["a"] = "b";
    link.shared = "c";
  }
  canonicalize(graph);
  const auto written = nlohmann::json::parse(to_json(graph));
  const auto whole = schema();
  auto known = fields(whole["properties"]);
  known.erase("origin");
  EXPECT_EQ(fields(written), known);
  EXPECT_EQ(fields(written["nodes"][0]), fields(whole["$defs"]["node"]["properties"]));
  EXPECT_EQ(fields(written["links"][0]), fields(whole["$defs"]["link"]["properties"]));
}

TEST(Schema, RequiresWhatTheReaderRequires) {
  Graph graph = test::pcie_box();
  canonicalize(graph);
  const auto whole = schema();
  for (const auto& [list, definition] : {std::pair{"nodes", "node"}, std::pair{"links", "link"}}) {
    const auto required = listed(whole["$defs"][definition]["required"]);
    for (const std::string& field : fields(whole["$defs"][definition]["properties"])) {
      auto json = nlohmann::json::parse(to_json(graph));
      for (auto& each : json[list]) each.erase(field);
      EXPECT_EQ(from_json(json.dump(), "x").ok(), required.count(field) == 0)
          << definition << " without " << field;
    }
  }
}

}  // namespace
}  // namespace comity::topology
