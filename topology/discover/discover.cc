#include "topology/discover/discover.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "src/base/clock.h"
#include "topology/discover/bounded.h"
#include "topology/discover/cache.h"
#include "topology/discover/kernel_view.h"
#include "topology/discover/sources.h"

namespace comity::topology {
namespace {

Finding describe(const KernelView& view) {
  size_t bridges = 0;
  for (const PciFunction& function : view.pci) bridges += is_pci_bridge(function) ? 1 : 0;
  return {"sysfs", true,
          fmt::format("{} NUMA domains, {} PCI functions ({} bridges), {} network interfaces, {} RDMA ports",
                      view.numa.size(), view.pci.size(), bridges, view.netdevs.size(), view.rdma.size())};
}

// The view of the kernel, or just a host with a name.
KernelView view_or_host(Result<KernelView> view, const DiscoverOptions& options, Discovered& found) {
  if (view.ok()) {
    found.findings.push_back(describe(*view));
    return std::move(view).value();
  }
  found.findings.push_back(
      {"sysfs", false,
       fmt::format("{}: {}; only the host is in the graph", options.sysfs, view.status().message())});
  KernelView host;
  host.names = read_host_names(options.procfs);
  return host;
}

struct Anew {
  Result<Discovered> found;
  bool all_answered = false;
};

// Of one source, within that of all.
Deadline source_deadline(const DiscoverOptions& options, const Deadline& all) {
  return Deadline::after_ms(std::min(options.source_deadline_ms,
                                     static_cast<uint64_t>(all.left_ms(std::numeric_limits<int>::max()))));
}

Anew discover_anew(const DiscoverOptions& options, const Deadline& all) {
  const Deadline deadline = source_deadline(options, all);
  Bounded<KernelView> kernel([sysfs = options.sysfs, procfs = options.procfs]() -> Result<KernelView> {
    return read_kernel_view(sysfs, procfs);
  });
  LibrarySources libraries(options);
  Discovered found;
  Result<KernelView> view = kernel.wait(deadline);
  const bool kernel_answered = view.ok();
  found.graph = graph_of(view_or_host(std::move(view), options, found));
  const bool libraries_answered = libraries.merge_all(deadline, found.graph, found.findings);
  canonicalize(found.graph);
  if (const Status valid = validate(found.graph); !valid.ok())
    return {Status(
        Code::kInternalError,
        fmt::format("discovery made a graph that is not valid: {}; please report it", valid.message()))};
  return {std::move(found), kernel_answered && libraries_answered};
}

struct Cached {
  std::string hardware;             // its fingerprint
  std::optional<Discovered> found;  // of this hardware
};

// Bounded, too: the fingerprint asks drivers, and the folder may be on a network.
Result<Cached> look_up(const Cache& cache, const DiscoverOptions& options, const Deadline& all) {
  Bounded<Cached> look([cache, options]() -> Result<Cached> {
    Cached cached{fingerprint(options), std::nullopt};
    if (options.refresh) return cached;
    cached.found = cache.load(cached.hardware);
    if (cached.found)
      cached.found->findings.push_back({"cache", true, fmt::format("all of this is from {}", cache.path())});
    return cached;
  });
  return look.wait(source_deadline(options, all));
}

}  // namespace

Result<Discovered> discover(const DiscoverOptions& options) {
  const Deadline all = Deadline::after_ms(options.deadline_ms);
  if (!options.cache) return discover_anew(options, all).found;
  const Result<Cache> cache = Cache::of(options);
  Result<Cached> cached = cache.ok() ? look_up(*cache, options, all) : Result<Cached>(cache.status());
  if (cached.ok() && cached->found) return *std::move(cached->found);
  Anew anew = discover_anew(options, all);
  if (!anew.found.ok()) return anew.found;
  Status stored = cached.status();
  if (cached.ok() && anew.all_answered) stored = cache->store(cached->hardware, *anew.found);
  // It may answer the next time.
  if (cached.ok() && !anew.all_answered)
    stored = Status(Code::kTimeout, "not written: a source did not answer in time");
  anew.found->findings.push_back(
      {"cache", stored.ok(), stored.ok() ? cache->path() : std::string(stored.message())});
  return std::move(anew.found);
}

bool is_volatile_attribute(std::string_view key) {
  constexpr std::string_view kKeys[] = {"pcie.current", "net.state", "rdma.gids", "rdma.verbs"};
  return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
}

}  // namespace comity::topology
