// Ranks with different views end in one graph, or in an error that names the difference.
#include "topology/agree.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/topology/machines.h"
#include "topology/json.h"

namespace comity::topology {
namespace {

Graph canonical(Graph graph) {
  canonicalize(graph);
  return graph;
}

// Views as ranks gather them: the text only from the lowest rank of a digest.
std::vector<View> views_of(const std::vector<Graph>& graphs) {
  std::vector<View> views;
  std::vector<uint64_t> digests;
  for (const Graph& graph : graphs) {
    std::string text = to_json(anonymous(graph));
    const uint64_t digest = digest_of(text);
    digests.push_back(digest);
    views.push_back({digest, std::move(text)});
  }
  for (uint32_t rank = 0; rank < views.size(); ++rank) {
    if (!sends_text(digests, rank)) views[rank].text.clear();
  }
  return views;
}

Graph without_nic(Graph graph) {
  const uint32_t nic = graph.nodes_of(NodeKind::kNic).back();
  std::erase_if(graph.links, [&](const Link& link) { return link.from == nic || link.to == nic; });
  for (Link& link : graph.links) {
    link.from -= link.from > nic;
    link.to -= link.to > nic;
  }
  graph.nodes.erase(graph.nodes.begin() + nic);
  canonicalize(graph);
  return graph;
}

std::string message_of(const Result<Agreed>& agreed) {
  return agreed.ok() ? "" : std::string(agreed.status().message());
}

TEST(Agreement, OfEqualViewsIsThatView) {
  const Graph box = canonical(test::switched_box());
  const auto views = views_of({box, box, box, box});
  EXPECT_TRUE(views[3].text.empty()) << "four ranks sent one text four times";
  auto agreed = agree(views, {0, 0, 1, 1});
  ASSERT_TRUE(agreed.ok()) << message_of(agreed);
  EXPECT_TRUE(agreed->differences.empty());
  EXPECT_EQ(agreed->graph.host_count(), 2u);
  EXPECT_EQ(agreed->graph.nodes.size(), 2 * box.nodes.size());
  ASSERT_EQ(agreed->host_node.size(), 2u);
  EXPECT_EQ(agreed->graph.nodes[agreed->host_node[1]].host, 1u);
  EXPECT_TRUE(validate(agreed->graph).ok());
}

TEST(Agreement, LeavesOutWhatARankOfTheHostDoesNotSeeAndNamesIt) {
  const Graph box = canonical(test::switched_box());
  for (bool first_lacks : {false, true}) {
    const Graph less = without_nic(box);
    auto agreed = agree(views_of({first_lacks ? less : box, first_lacks ? box : less}), {0, 0});
    ASSERT_TRUE(agreed.ok()) << message_of(agreed);
    ASSERT_EQ(agreed->differences.size(), 1u);
    EXPECT_NE(agreed->differences[0].find("mlx5_3"), std::string::npos) << agreed->differences[0];
    EXPECT_NE(agreed->differences[0].find(first_lacks ? "rank 1 sees" : "rank 0 sees"), std::string::npos);
    EXPECT_EQ(agreed->graph.nodes_of(NodeKind::kNic).size(), 3u);
  }
}

TEST(Agreement, TakesTheLesserFigure) {
  const Graph box = canonical(test::switched_box());
  Graph slow = box;
  for (Link& link : slow.links) {
    if (link.kind == LinkKind::kCpu) link.bandwidth_bytes_per_s = 1'000;
  }
  for (const auto& both : {std::vector<Graph>{box, slow}, std::vector<Graph>{slow, box}}) {
    auto agreed = agree(views_of(both), {0, 0});
    ASSERT_TRUE(agreed.ok()) << message_of(agreed);
    EXPECT_FALSE(agreed->differences.empty());
    for (const Link& link : agreed->graph.links) {
      if (link.kind == LinkKind::kCpu) {
        EXPECT_EQ(link.bandwidth_bytes_per_s, 1'000u);
      }
    }
  }
}

TEST(Agreement, KeepsEachOfSeveralParallelLinks) {
  Graph box = canonical(test::switched_box());
  const auto cpu = std::find_if(box.links.begin(), box.links.end(),
                                [](const Link& link) { return link.kind == LinkKind::kCpu; });
  ASSERT_NE(cpu, box.links.end());
  Link second = *cpu;
  second.bandwidth_bytes_per_s = 1'000;
  box.join(second);
  canonicalize(box);
  Graph renamed = box;  // another view of the same links
  renamed.nodes[renamed.nodes_of(NodeKind::kNic)[0]].vendor = "other";
  canonicalize(renamed);
  const auto agreed = agree(views_of({box, renamed}), {0, 0});
  ASSERT_TRUE(agreed.ok()) << message_of(agreed);
  EXPECT_TRUE(agreed->differences.empty()) << agreed->differences[0];
  const auto bandwidths = [](const Graph& graph) {
    std::vector<uint64_t> all;
    for (const Link& link : graph.links) {
      if (link.kind == LinkKind::kCpu) all.push_back(link.bandwidth_bytes_per_s);
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  EXPECT_EQ(bandwidths(agreed->graph), bandwidths(box));
  Graph one = box;  // and one that lacks the faster of the two
  std::erase_if(one.links, [](const Link& link) {
    return link.kind == LinkKind::kCpu && link.bandwidth_bytes_per_s != 1'000;
  });
  for (const auto& both : {std::vector<Graph>{box, one}, std::vector<Graph>{one, box}}) {
    const auto less = agree(views_of(both), {0, 0});
    ASSERT_TRUE(less.ok()) << message_of(less);
    EXPECT_EQ(bandwidths(less->graph), (std::vector<uint64_t>{1'000, 1'000}));
    EXPECT_FALSE(less->differences.empty());
  }
}

TEST(Agreement, KeepsDifferentHostsApart) {
  auto agreed = agree(views_of({canonical(test::switched_box()), canonical(test::pcie_box())}), {0, 1});
  ASSERT_TRUE(agreed.ok()) << message_of(agreed);
  EXPECT_TRUE(agreed->differences.empty());
  EXPECT_EQ(agreed->graph.nodes_of(NodeKind::kDevice).size(), 12u);
}

TEST(Agreement, ForgetsWhatIsOneMachinesOwn) {
  Graph one = canonical(test::bare_host()), other = one;
  one.nodes[0].name = "alpha";
  one.nodes[0].attributes["boot_id"] = "1";
  other.nodes[0].name = "beta";
  other.nodes[0].attributes["boot_id"] = "2";
  EXPECT_TRUE(anonymous(one) == anonymous(other));
}

TEST(Agreement, RefusesAnotherVersionAndNamesTheRank) {
  auto views = views_of({canonical(test::bare_host()), canonical(test::pcie_box())});
  views[1].text.replace(views[1].text.find("\"version\": 1"), 12, "\"version\": 7");
  views[1].digest = digest_of(views[1].text);
  const std::string message = message_of(agree(views, {0, 1}));
  EXPECT_NE(message.find("rank 1"), std::string::npos) << message;
  EXPECT_NE(message.find("version 7"), std::string::npos) << message;
}

TEST(Agreement, RefusesADamagedText) {
  auto views = views_of({canonical(test::bare_host())});
  views[0].text[20] ^= 1;
  EXPECT_NE(message_of(agree(views, {0})).find("damaged"), std::string::npos);
}

TEST(Agreement, RefusesAViewOfSeveralHosts) {
  EXPECT_NE(message_of(agree(views_of({canonical(test::flat_cluster(2))}), {0})).find("2 hosts"),
            std::string::npos);
}

}  // namespace
}  // namespace comity::topology
