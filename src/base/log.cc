#include "src/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <strings.h>

#include <string>

#include "src/base/fork.h"
#include "src/base/settings.h"

namespace comity {
namespace {

// Under kLog, which stands in for the sink's own lock: a fork waits for it.
spdlog::logger& logger() {
  // Never destroyed: the control thread may still log while the process exits.
  static spdlog::logger& instance = *[] {
    auto* made = new spdlog::logger("comity", std::make_shared<spdlog::sinks::stderr_sink_st>());
    made->set_level(spdlog::level::debug);
    made->set_pattern("%H:%M:%S.%e comity[%P] %l: %v");
    return made;
  }();
  return instance;
}

constexpr const char* kLevelNames[] = {"error", "warn", "info", "debug"};  // in the order of LogLevel

LogLevel level_from_settings() {
  const std::string text = setting_text("COMITY_LOG");
  for (int level = 0; level < 4; ++level) {
    if (::strcasecmp(text.c_str(), kLevelNames[level]) == 0) return static_cast<LogLevel>(level);
  }
  if (::strcasecmp(text.c_str(), "warning") == 0) return LogLevel::kWarn;
  log_line(LogLevel::kWarn,
           fmt::format("COMITY_LOG=\"{}\" is none of error, warn, info and debug; warn is used", text));
  return LogLevel::kWarn;
}

}  // namespace

bool log_enabled(LogLevel level) {
  static const LogLevel enabled = level_from_settings();
  return level <= enabled;
}

void log_line(LogLevel level, std::string_view line) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::err, spdlog::level::warn,
                                                   spdlog::level::info, spdlog::level::debug};
  const std::lock_guard lock(process_lock(ProcessLock::kLog));
  logger().log(kLevels[static_cast<int>(level)], "{}", line);
}

}  // namespace comity
