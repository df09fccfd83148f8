// Settings of one communicator.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "comity/comity.h"

namespace comity {
inline namespace hpp {

// What is left alone has the value that `comity config` shows; the fields' meaning stands at comityConfig_t.
struct Config {
  std::optional<bool> blocking = {};
  std::optional<std::chrono::milliseconds> timeout = {};  // zero: waits for ever
  std::optional<std::chrono::milliseconds> init_timeout = {};
  std::optional<std::string> transports = {};  // equal on all ranks
  std::optional<std::string> interfaces = {};
  std::optional<bool> deterministic = {};  // equal on all ranks
  std::optional<int> max_lanes = {};       // equal on all ranks
  std::optional<int> progress_cpu = {};
  std::optional<std::string> name = {};

  // For C. Its texts are this object's: valid as long as it is, unchanged.
  comityConfig_t native() const {
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    set(config.blocking, blocking);
    if (timeout) config.timeoutMs = static_cast<int>(timeout->count());
    if (init_timeout) config.initTimeoutMs = static_cast<int>(init_timeout->count());
    set(config.transports, transports);
    set(config.interfaces, interfaces);
    set(config.deterministic, deterministic);
    set(config.maxLanes, max_lanes);
    set(config.progressCpu, progress_cpu);
    set(config.name, name);
    return config;
  }

 private:
  template <typename T>
  static void set(int& field, const std::optional<T>& value) {
    if (value) field = static_cast<int>(*value);
  }
  static void set(const char*& field, const std::optional<std::string>& value) {
    if (value) field = value->c_str();
  }
};

}  // namespace hpp
}  // namespace comity
