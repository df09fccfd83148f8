#include "topology/discover/cache.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "src/base/hash.h"
#include "src/base/unique_fd.h"
#include "topology/discover/sysfs.h"
#include "topology/json.h"

namespace comity::topology {
namespace {

using nlohmann::json;
// Of the file and of what discovery makes of the same machine: one more whenever either changes.
constexpr int kVersion = 1;
constexpr size_t kLongestFile = 64u << 20;

std::string read_own_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || status.st_uid != ::geteuid() ||
      !S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > kLongestFile)
    return {};
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {};
    done += static_cast<size_t>(got);
  }
  return text;
}

bool write_all(int file, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = ::write(file, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

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
  const char* chosen = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (!options.cache_folder.empty())
    cache.folder_ = options.cache_folder;
  else if (chosen != nullptr && chosen[0] == '/')  // the XDG specification ignores relative ones
    cache.folder_ = std::string(chosen) + "/comity";
  else if (home != nullptr && home[0] == '/')
    cache.folder_ = std::string(home) + "/.cache/comity";
  else
    return Status(Code::kInvalidUsage, "no folder: set HOME or XDG_CACHE_HOME; each process discovers anew");
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
  const auto refused = [this](const char* what, int error) {
    return Status(Code::kSystemError, fmt::format("cannot {} {}: {}; each process discovers anew", what,
                                                  path_, std::strerror(error)));
  };
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return refused("make the folder of", error.value());
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
  std::string temporary = path_ + ".XXXXXX";
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.valid()) return refused("write", errno);
  if (!write_all(file.get(), text) || ::rename(temporary.c_str(), path_.c_str()) != 0) {
    const int why = errno;
    ::unlink(temporary.c_str());
    return refused("write", why);
  }
  return {};
}

}  // namespace comity::topology
