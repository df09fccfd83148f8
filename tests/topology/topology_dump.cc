// topology_dump: this machine as JSON on standard output, what each source said on standard error. The lab
// runs it in a guest; exit status 1 if discovery fails.
#include <fmt/core.h>

#include <cstdio>

#include "topology/discover/discover.h"
#include "topology/json.h"

int main() {
  comity::topology::DiscoverOptions options;
  options.cache = false;
  options.source_deadline_ms = options.deadline_ms = 60'000;  // an emulated machine is slow
  const auto found = comity::topology::discover(options);
  if (!found.ok()) {
    fmt::print(stderr, "{}\n", found.status().message());
    return 1;
  }
  for (const auto& each : found->findings)
    fmt::print(stderr, "{}: {}: {}\n", each.source, each.ok ? "yes" : "no", each.text);
  fmt::print("{}\n", comity::topology::to_json(found->graph));
  return 0;
}
