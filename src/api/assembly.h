// Assembly: puts one rank's communicator together: control session, transports, topology, selection, engine.
//
//   join -> exchange addresses -> reach peers over shared memory -> exchange who is with whom -> topology
//        -> reach the rest over tcp -> agree -> calibrate -> engine
#pragma once

#include <cstdint>
#include <memory>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/control/control.h"
#include "src/engine/communicator.h"

namespace comity::api {

// All that a communicator holds; members are destroyed in reverse order: the engine before its transports
// before control.
class Assembly {
 public:
  // Blocks until every rank is there or the deadline (COMITY_INIT_TIMEOUT_MS) passed. Errors: those of
  // control::Session::join, of the settings, of the transports; kInvalidUsage names what ranks disagree on.
  static Result<std::unique_ptr<Assembly>> make(const control::UniqueId& id, uint32_t nranks, uint32_t rank);
  virtual ~Assembly() = default;
  virtual engine::Communicator& engine() = 0;
  virtual control::Session& session() = 0;
};

// Devices of this process, opened at first use per COMITY_DEVICES.
Result<DeviceRegistry*> devices();

}  // namespace comity::api
