#include "src/api/config.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "src/base/text.h"

namespace comity::api {
namespace {

constexpr size_t kLongestText = 4096;
constexpr size_t kLongestName = 255;  // it stands in sentences, and is kept as long as the handle
constexpr int kMostLanes = 1024;

Status refused(const std::string& what) {
  return Status(Code::kInvalidArgument, "the config " + what);
}

// Bytes beyond what this library knows are fields of a newer one. Left alone they are COMITY_CONFIG_UNDEF_INT
// or null pointers: words of 0x80000000 or 0.
bool left_alone(const comityConfig_t* config, size_t size) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(config);
  for (size_t at = sizeof(comityConfig_t); at < size; at += sizeof(uint32_t)) {
    uint32_t word = 0;
    std::memcpy(&word, bytes + at, std::min(sizeof word, size - at));
    if (word != 0 && word != static_cast<uint32_t>(COMITY_CONFIG_UNDEF_INT)) return false;
  }
  return true;
}

// The fields of the caller's config; those that its size leaves out are as if left alone.
Result<comityConfig_t> known_fields(const comityConfig_t* config) {
  comityConfig_t fields = COMITY_CONFIG_INITIALIZER;
  if (config == nullptr) return fields;
  constexpr size_t kHead = offsetof(comityConfig_t, blocking);
  constexpr size_t kMost = 64 * 1024;
  if (config->magic != COMITY_CONFIG_MAGIC || config->size < kHead || config->size > kMost) {
    return refused(fmt::format(
        "was not made by COMITY_CONFIG_INITIALIZER: its size is {} and its magic {:#x}, not {:#x}",
        config->size, config->magic, COMITY_CONFIG_MAGIC));
  }
  if (config->version < COMITY_VERSION(0, 1, 0))
    return refused(fmt::format("is of version {}, and there was none before 0.1.0", config->version));
  if (!left_alone(config, config->size)) {
    return refused(fmt::format(
        "sets a field that this library, version {}.{}.{}, does not know: the program was compiled for {}",
        COMITY_MAJOR, COMITY_MINOR, COMITY_PATCH, config->version));
  }
  std::memcpy(&fields, config, std::min(config->size, sizeof fields));
  return fields;
}

Status check_range(const char* name, int value, int least, int most) {
  if (value == COMITY_CONFIG_UNDEF_INT || (value >= least && value <= most)) return {};
  return refused(fmt::format("has {} = {}: it is from {} to {}", name, value, least, most));
}

// Sentences that a text is quoted in are lines of the log.
Status check_text(const char* name, const char* text, size_t most) {
  if (text == nullptr) return {};
  const size_t length = strnlen(text, most + 1);
  if (length > most) return refused(fmt::format("has a {} of more than {} bytes", name, most));
  const bool breaks = std::any_of(text, text + length, [](unsigned char c) { return c < ' ' || c == 0x7f; });
  return breaks ? refused(fmt::format("has a {} with control characters", name)) : Status();
}

Status check_fields(const comityConfig_t& fields) {
  COMITY_RETURN_IF_ERROR(check_range("blocking", fields.blocking, 0, 1));
  COMITY_RETURN_IF_ERROR(check_range("timeoutMs", fields.timeoutMs, 0, INT_MAX));
  COMITY_RETURN_IF_ERROR(check_range("initTimeoutMs", fields.initTimeoutMs, 1, INT_MAX));
  COMITY_RETURN_IF_ERROR(check_range("deterministic", fields.deterministic, 0, 1));
  COMITY_RETURN_IF_ERROR(check_range("maxLanes", fields.maxLanes, 0, kMostLanes));
  COMITY_RETURN_IF_ERROR(check_range("progressCpu", fields.progressCpu, -1, INT_MAX));
  COMITY_RETURN_IF_ERROR(check_text("transports", fields.transports, kLongestText));
  COMITY_RETURN_IF_ERROR(check_text("interfaces", fields.interfaces, kLongestText));
  return check_text("name", fields.name, kLongestName);
}

void overlay(const comityConfig_t& fields, Settings& settings) {
  const auto number = [&](const char* name, int value, const char* unit) {
    if (value != COMITY_CONFIG_UNDEF_INT) settings.set_by_config(name, fmt::format("{}{}", value, unit));
  };
  number("COMITY_TIMEOUT", fields.timeoutMs, "ms");
  number("COMITY_INIT_TIMEOUT_MS", fields.initTimeoutMs, "");
  number("COMITY_DETERMINISTIC", fields.deterministic, "");
  number("COMITY_MAX_LANES", fields.maxLanes, "");
  if (fields.progressCpu == -1)
    settings.set_by_config("COMITY_PROGRESS_CPU", "");
  else
    number("COMITY_PROGRESS_CPU", fields.progressCpu, "");
  if (fields.transports != nullptr) settings.set_by_config("COMITY_TRANSPORTS", fields.transports);
  if (fields.interfaces != nullptr) settings.set_by_config("COMITY_SOCKET_IFNAME", fields.interfaces);
}

// Known and in range.
Result<comityConfig_t> fields_of(const comityConfig_t* config) {
  COMITY_ASSIGN_OR_RETURN(const comityConfig_t fields, known_fields(config));
  COMITY_RETURN_IF_ERROR(check_fields(fields));
  return fields;
}

// A split opens no connections.
Status check_shared(const char* name, const char* text, const std::string& of_parent) {
  if (text == nullptr || text == of_parent) return {};
  return refused(fmt::format(
      "has {0} = \"{1}\", and those of the communicator that is split are \"{2}\": a split shares "
      "its parent's connections; leave {0} alone, or make a communicator by comityCommInitRank",
      name, text, of_parent));
}

Result<CommConfig> overlaid(CommConfig made, const comityConfig_t& fields) {
  overlay(fields, made.settings);
  if (fields.blocking != COMITY_CONFIG_UNDEF_INT) made.blocking = fields.blocking == 1;
  if (fields.name != nullptr) made.name = fields.name;
  const Settings& settings = made.settings;
  COMITY_ASSIGN_OR_RETURN(made.timeout_ms, settings.milliseconds("COMITY_TIMEOUT"));
  COMITY_ASSIGN_OR_RETURN(made.init_timeout_ms, settings.number("COMITY_INIT_TIMEOUT_MS"));
  COMITY_ASSIGN_OR_RETURN(const uint64_t deterministic, settings.number("COMITY_DETERMINISTIC"));
  made.deterministic = deterministic == 1;
  COMITY_ASSIGN_OR_RETURN(const uint64_t lanes, settings.number("COMITY_MAX_LANES"));
  made.max_lanes = static_cast<uint32_t>(lanes);
  made.progress_cpu = -1;
  if (!settings.text("COMITY_PROGRESS_CPU").empty()) {
    COMITY_ASSIGN_OR_RETURN(const uint64_t core, settings.number("COMITY_PROGRESS_CPU"));
    made.progress_cpu = static_cast<int>(core);
  }
  return made;
}

}  // namespace

std::string name_of_rank(uint32_t rank, const CommConfig& config) {
  return about_communicator(fmt::format("rank {}", rank), config.name);
}

Result<CommConfig> read_config(const comityConfig_t* config) {
  COMITY_ASSIGN_OR_RETURN(Settings settings, Settings::read());
  COMITY_ASSIGN_OR_RETURN(const comityConfig_t fields, fields_of(config));
  return overlaid(CommConfig{.settings = std::move(settings), .name = {}}, fields);
}

Result<CommConfig> inherit_config(const CommConfig& parent, const comityConfig_t* config) {
  COMITY_ASSIGN_OR_RETURN(const comityConfig_t fields, fields_of(config));
  const Settings& its = parent.settings;
  COMITY_RETURN_IF_ERROR(check_shared("transports", fields.transports, its.text("COMITY_TRANSPORTS")));
  COMITY_RETURN_IF_ERROR(check_shared("interfaces", fields.interfaces, its.text("COMITY_SOCKET_IFNAME")));
  COMITY_ASSIGN_OR_RETURN(CommConfig made, overlaid(parent, fields));
  const bool bounded = fields.initTimeoutMs != COMITY_CONFIG_UNDEF_INT;
  made.split_timeout_ms = bounded ? static_cast<uint64_t>(fields.initTimeoutMs) : 0;
  return made;
}

}  // namespace comity::api
