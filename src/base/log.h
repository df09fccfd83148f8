// Logging: one sentence per event, with rank and cause, to standard error. spdlog stays behind log.cc.
//
// COMITY_LOG = error | warn (default) | info | debug. Below the level nothing is formatted. Never on the hot
// path.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace comity {

enum class LogLevel : int { kError = 0, kWarn = 1, kInfo = 2, kDebug = 3 };

// Whether `level` is printed. Reads COMITY_LOG once. Any thread.
bool log_enabled(LogLevel level);
// Writes one line. Any thread; blocks on standard error.
void log_line(LogLevel level, std::string_view line);

}  // namespace comity

#define COMITY_LOG(level, ...)                                                             \
  do {                                                                                     \
    if (::comity::log_enabled(level)) ::comity::log_line(level, fmt::format(__VA_ARGS__)); \
  } while (0)
#define COMITY_LOG_ERROR(...) COMITY_LOG(::comity::LogLevel::kError, __VA_ARGS__)
#define COMITY_LOG_WARN(...) COMITY_LOG(::comity::LogLevel::kWarn, __VA_ARGS__)
#define COMITY_LOG_INFO(...) COMITY_LOG(::comity::LogLevel::kInfo, __VA_ARGS__)
#define COMITY_LOG_DEBUG(...) COMITY_LOG(::comity::LogLevel::kDebug, __VA_ARGS__)
