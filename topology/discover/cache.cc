#include "topology/discover/cache.h"

#include <fmt/core.h>

#include <exception>
#include <nlohmann/json.hpp>
#include <vector>

#include "src/base/hash.h"
#include "src/base/own_file.h"
#include "topology/discover/sysfs.h"
#include "topology/json.h"

namespace comity::topology {
namespace {

using nlohmann::json;
// Of the file and of what discovery makes of the same machine: one more whenever either changes.
constexpr int kVersion = 2;

std::string checksum(const std::string& text) {
  return fmt::format("{:016x}", hash_text(text));
}

// Throws what the JSON library throws.
Discovered parse(const std::string& text, const std::string& fingerprint, const std::string& path) {
  const json file = json::parse(text);
  if (file.at("version") != kVersion || file.at("fingerprint") != fingerprint) throw std::exception();
  const std::string graph = file.at("graph");
  if (file.at("checksum") != checksum(graph)) throw std::exception();
  Result<Graph> read = from_json(graph, path);
  if (!read.ok()) throw std::exception();
  Discovered found;
  found.graph = std::move(read).value();
  found.graph.origin = "this machine";
  found.from_cache = true;
  for (const json& each : file.at("findings"))
    found.findings.push_back({each.at("source"), each.at("ok"), each.at("text")});
  return found;
}

}  // namespace

std::string fingerprint(const DiscoverOptions& options) {
  std::string seen = fmt::format("{} {} {} ", options.sysfs, options.vendor_libraries,
                                 link_name(options.procfs + "/self/ns/net"));
  const auto add = [&seen](const std::string& path) {
    seen += fmt::format("{}={}\n", path, read_text(path));
  };
  for (const auto& [name, file] : options.libraries) seen += fmt::format("{}={}\n", name, file);
  add(options.sysfs + "/devices/system/node/online");
  const std::string pci = options.sysfs + "/bus/pci/devices/";
  for (const std::string& name : list_folder(pci)) {
    seen += fmt::format("{} {} ", name, link_name(pci + name + "/driver"));
    add(pci + name + "/max_link_width");
  }
  const std::string net = options.sysfs + "/class/net/";
  for (const std::string& name : list_folder(net))
    for (const char* file : {"/speed", "/operstate", "/flags", "/bonding/slaves"}) add(net + name + file);
  const std::string rdma = options.sysfs + "/class/infiniband/";
  for (const std::string& name : list_folder(rdma))
    for (const std::string& port : list_folder(rdma + name + "/ports"))
      for (const char* file : {"/rate", "/state"})
        add(fmt::format("{}{}/ports/{}{}", rdma, name, port, file));
  return checksum(seen);
}

Result<Cache> Cache::of(const DiscoverOptions& options) {
  Cache cache;
  auto folder = cache_folder(options.cache_folder);
  if (!folder.ok())
    return Status(Code::kInvalidUsage,
                  fmt::format("{}; each process discovers anew", folder.status().message()));
  cache.folder_ = std::move(*folder);
  const std::string boot = read_text(options.procfs + "/sys/kernel/random/boot_id");
  if (boot.empty() || boot.find('/') != std::string::npos)
    return Status(Code::kInvalidUsage, "the kernel tells no boot id; each process discovers anew");
  cache.path_ = fmt::format("{}/topology-{}.json", cache.folder_, boot);
  return cache;
}

std::optional<Discovered> Cache::load(const std::string& fingerprint) const {
  const std::string text = read_own_file(path_);
  if (text.empty()) return std::nullopt;
  try {
    return parse(text, fingerprint, path_);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

Status Cache::store(const std::string& fingerprint, const Discovered& found) const {
  std::string text;
  try {
    const std::string graph = to_json(found.graph);
    json file = {
        {"version", kVersion}, {"fingerprint", fingerprint}, {"checksum", checksum(graph)}, {"graph", graph}};
    file["findings"] = json::array();
    for (const Finding& each : found.findings)
      file["findings"].push_back({{"source", each.source}, {"ok", each.ok}, {"text", each.text}});
    text = file.dump(1, ' ', false, json::error_handler_t::replace);
  } catch (const std::exception& exception) {
    return Status(Code::kInternalError, fmt::format("cannot write {}: {}", path_, exception.what()));
  }
  const Status status = write_own_file(folder_, path_.substr(folder_.size() + 1), text);
  if (status.ok()) return status;
  return Status(Code::kSystemError, fmt::format("{}; each process discovers anew", status.message()));
}

}  // namespace comity::topology
