#include "topology/discover/profile.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>

#include "src/base/own_file.h"

namespace comity::topology {
namespace {

using nlohmann::ordered_json;
constexpr int kVersion = 1;

std::string file_name(uint64_t structure) {
  return fmt::format("profile-{:016x}.json", structure);
}

void write_figure(Link& link, uint64_t latency_ns, uint64_t bandwidth_bytes_per_s) {
  link.latency_ns = std::max<uint64_t>(latency_ns, 1);
  link.bandwidth_bytes_per_s = std::max<uint64_t>(bandwidth_bytes_per_s / link.count, 1);
  link.source = Source::kMeasured;
}

}  // namespace

std::string to_json(const Profile& profile) {
  ordered_json json = {{"version", kVersion}, {"structure", fmt::format("{:016x}", profile.structure)}};
  json["paths"] = ordered_json::array();
  for (const MeasuredPath& path : profile.paths) {
    json["paths"].push_back({{"transport", path.transport},
                             {"from", path.from},
                             {"to", path.to},
                             {"latency_ns", path.latency_ns},
                             {"bandwidth_bytes_per_s", path.bandwidth_bytes_per_s}});
  }
  return json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<Profile> profile_from_json(std::string_view text, const std::string& origin) {
  const auto wrong = [&origin](const std::string& why) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{}: {}; measure again with `comity topo --measure`", origin, why));
  };
  try {
    const auto json = ordered_json::parse(text);
    if (json.at("version").get<int>() != kVersion) return wrong("another version's profile");
    Profile profile;
    const auto structure = json.at("structure").get<std::string>();
    size_t used = 0;
    profile.structure = std::stoull(structure, &used, 16);
    if (used != structure.size() || used != 16) return wrong("\"structure\" is no hash");
    for (const auto& each : json.at("paths")) {
      MeasuredPath path{each.at("transport").get<std::string>(), each.at("from").get<std::string>(),
                        each.at("to").get<std::string>(), each.at("latency_ns").get<uint64_t>(),
                        each.at("bandwidth_bytes_per_s").get<uint64_t>()};
      if (path.latency_ns == 0 || path.bandwidth_bytes_per_s == 0) return wrong("a figure is 0");
      profile.paths.push_back(std::move(path));
    }
    return profile;
  } catch (const std::exception& error) {
    return wrong(error.what());
  }
}

Status store_profile(const Profile& profile, const std::string& folder) {
  COMITY_ASSIGN_OR_RETURN(const std::string where, cache_folder(folder));
  return write_own_file(where, file_name(profile.structure), to_json(profile));
}

Profile load_profile(uint64_t structure, const std::string& folder) {
  const auto where = cache_folder(folder);
  if (where.ok()) {
    const std::string path = *where + "/" + file_name(structure);
    auto profile = profile_from_json(read_own_file(path), path);
    if (profile.ok() && profile->structure == structure) return std::move(*profile);
  }
  return {structure, {}};
}

void apply(const Profile& profile, Graph& graph) {
  for (const MeasuredPath& path : profile.paths) {
    const int64_t from = graph.find(path.from), to = graph.find(path.to);
    if (path.transport != "shm" || from < 0 || to < 0) continue;
    for (Link& link : graph.links) {
      const bool within =
          from == to && link.kind == LinkKind::kMemory && (link.from == from || link.to == from);
      const bool between = from != to && link.kind == LinkKind::kCpu &&
                           ((link.from == from && link.to == to) || (link.from == to && link.to == from));
      // Within a domain two links are passed, in and out.
      if (within) write_figure(link, (path.latency_ns + 1) / 2, path.bandwidth_bytes_per_s);
      if (between) write_figure(link, path.latency_ns, path.bandwidth_bytes_per_s);
    }
  }
}

}  // namespace comity::topology
