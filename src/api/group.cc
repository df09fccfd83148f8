#include "src/api/group.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "src/api/errors.h"
#include "src/api/group_launch.h"
#include "src/api/guard.h"
#include "src/api/stream_handle.h"

namespace comity::api {
namespace {

struct Group {
  int depth = 0;
  Status refused;
  std::vector<Collected> calls;
  std::map<comityComm_t, size_t> exchanges;  // of each communicator, the one in `calls`
  std::vector<MakeJob> makes;
};
thread_local Group group;

void collect(comityComm_t comm, const engine::Call& call, std::shared_ptr<engine::Stream> stream,
             const char* function) {
  Collected* into = nullptr;
  if (call.collective == Collective::kExchange) {
    const auto [at, is_first] = group.exchanges.try_emplace(comm, group.calls.size());
    if (!is_first) into = &group.calls[at->second];
  }
  if (into == nullptr) {
    into = &group.calls.emplace_back(Collected{comm, engine::KeptCall(call), {}, {}, false, function});
  }
  into->exchange.insert(into->exchange.end(), call.exchange.begin(), call.exchange.end());
  if (stream == nullptr)
    into->waited_for = true;
  else if (std::find(into->streams.begin(), into->streams.end(), stream) == into->streams.end())
    into->streams.push_back(std::move(stream));
}

// The handles of a group's inits are all there or all null.
comityResult_t carry_out(Group done) {
  if (!done.refused.ok()) return remember(done.refused.in("comityGroupEnd: nothing was carried out"));
  bool behind = false;
  Status status = Launch(done.calls).carry_out(&behind);
  if (status.ok()) status = make_all(done.makes, &behind);
  if (!status.ok()) return remember(status.in("comityGroupEnd"));
  return behind ? comityInProgress : comitySuccess;
}

}  // namespace

bool group_open() {
  return group.depth > 0;
}

Status spoil_group(Status refused) {
  if (group.refused.ok()) group.refused = refused;
  return refused;
}

Status add_to_group(comityComm_t comm, const engine::Call& call, comityStream_t stream, const char* function,
                    Status checked) {
  if (!checked.ok()) return spoil_group(std::move(checked));
  std::shared_ptr<engine::Stream> its;
  if (stream != nullptr) {
    auto found = stream_of(stream, function);
    if (!found.ok()) return spoil_group(found.status());
    its = std::move(found).value();
  }
  collect(comm, call, std::move(its), function);
  return {};
}

Status add_to_group(MakeJob job) {
  group.makes.push_back(std::move(job));
  return {};
}

}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityGroupStart(void) {
  ++api::group.depth;
  return comitySuccess;
}

extern "C" comityResult_t comityGroupEnd(void) {
  return api::guarded("comityGroupEnd", [&]() -> comityResult_t {
    if (api::group.depth == 0)
      return api::remember({Code::kInvalidUsage, "comityGroupEnd: this thread has no group open"});
    if (--api::group.depth > 0) return comitySuccess;
    return api::carry_out(std::exchange(api::group, api::Group{}));
  });
}
