// Assembly: puts one rank's communicator together: control session, transports, topology, selection, engine.
//
//   join -> exchange addresses -> reach peers over shared memory -> exchange who is with whom -> topology
//        -> reach the rest over tcp -> agree -> calibrate -> engine
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "comity/plugin/result.h"
#include "src/api/config.h"
#include "src/base/clock.h"
#include "src/control/control.h"
#include "src/engine/communicator.h"

namespace comity::api {

// All that a communicator holds; members are destroyed in reverse order: the engine before its transports
// before control.
class Assembly;

// comityCommSplit of one rank.
struct SplitRequest {
  int color = -1;  // negative: this rank gets no communicator
  int key = 0;
  CommConfig config;  // of the new communicator
};

class Assembly {
 public:
  // Blocks until every rank is there or config.init_timeout_ms passed. Errors: those of
  // control::Session::join, of the settings, of the transports; kInvalidUsage names what ranks disagree on.
  // A rank whose config could not be read passes that error: the others must hear of it. `cancelled`, if not
  // null, is set by another thread to end this and every later wait of the session soon, with kRemoteError;
  // it outlives the assembly.
  static Result<std::unique_ptr<Assembly>> make(const control::UniqueId& id, uint32_t nranks, uint32_t rank,
                                                const Result<CommConfig>& config,
                                                const std::atomic<bool>* cancelled = nullptr);
  virtual ~Assembly() = default;
  virtual engine::Communicator& engine() = 0;
  virtual control::Session& session() = 0;
  virtual const CommConfig& configuration() const = 0;
  // A collective of engine(), on the thread that calls it: the new communicator's part of this rank, or null
  // for one without a colour. The family's connections are shared, none is opened, and either may be
  // destroyed first. Blocks. Errors: those of a collective, which end this communicator; else the same on
  // all ranks of the new communicator, and this one goes on: kSystemError names who could not get what.
  virtual Result<std::unique_ptr<Assembly>> split(const SplitRequest& request) = 0;
};

// Devices of this process, opened at first use per COMITY_DEVICES.
Result<DeviceRegistry*> devices();
// Of them the one of this name, as a user gives it; kInvalidArgument says which there are.
Result<Device*> device_named(const char* name);

}  // namespace comity::api
