#include "src/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace comity {
namespace {

LogLevel level_from_environment() {
  const char* text = std::getenv("COMITY_LOG");
  if (text == nullptr) return LogLevel::kWarn;
  if (std::strcmp(text, "error") == 0) return LogLevel::kError;
  if (std::strcmp(text, "info") == 0) return LogLevel::kInfo;
  if (std::strcmp(text, "debug") == 0) return LogLevel::kDebug;
  return LogLevel::kWarn;
}

spdlog::logger& logger() {
  // Never destroyed: the control thread may still log while the process exits.
  static spdlog::logger& instance = *[] {
    auto* made = new spdlog::logger("comity", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::debug);
    made->set_pattern("%H:%M:%S.%e comity[%P] %l: %v");
    return made;
  }();
  return instance;
}

}  // namespace

bool log_enabled(LogLevel level) {
  static const LogLevel enabled = level_from_environment();
  return level <= enabled;
}

void log_line(LogLevel level, std::string_view line) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::err, spdlog::level::warn,
                                                   spdlog::level::info, spdlog::level::debug};
  logger().log(kLevels[static_cast<int>(level)], "{}", line);
}

}  // namespace comity
