#include "src/device/table/runtime.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

#include "src/base/fork.h"
#include "src/base/shared_library.h"

namespace comity {
namespace {

constexpr uint32_t kMostDevices = 1024;

Status broken(const std::string& from, std::string_view what) {
  return Status(Code::kInvalidUsage, fmt::format("the device plugin {} is refused: {}", from, what));
}

bool is_word(const char* name) {
  const size_t length = name == nullptr ? 0 : ::strnlen(name, 33);
  return length > 0 && length <= 32 && std::all_of(name, name + length, [](unsigned char letter) {
           return std::islower(letter) != 0 || std::isdigit(letter) != 0 || letter == '_';
         });
}

// The required entry that is missing; empty: all are there.
std::string_view missing_entry(const comityDeviceTable& table) {
  const std::pair<bool, std::string_view> required[] = {{table.start != nullptr, "start"},
                                                        {table.error_text != nullptr, "error_text"},
                                                        {table.device_count != nullptr, "device_count"},
                                                        {table.properties != nullptr, "properties"},
                                                        {table.allocate != nullptr, "allocate"},
                                                        {table.release != nullptr, "release"},
                                                        {table.find != nullptr, "find"},
                                                        {table.queue_create != nullptr, "queue_create"},
                                                        {table.queue_destroy != nullptr, "queue_destroy"},
                                                        {table.copy != nullptr, "copy"},
                                                        {table.event_create != nullptr, "event_create"},
                                                        {table.event_destroy != nullptr, "event_destroy"},
                                                        {table.event_record != nullptr, "event_record"},
                                                        {table.event_query != nullptr, "event_query"}};
  for (const auto& [there, name] : required) {
    if (!there) return name;
  }
  return {};
}

// Entries that are there together or not at all; the name of a group that is torn.
std::string_view torn_group(const comityDeviceTable& table) {
  const auto torn = [](std::initializer_list<bool> there) {
    const auto count = std::count(there.begin(), there.end(), true);
    return count != 0 && count != static_cast<ptrdiff_t>(there.size());
  };
  if (torn({table.stream_check != nullptr, table.stream_record != nullptr, table.stream_hold != nullptr,
            table.gate_open != nullptr}))
    return "stream_check, stream_record, stream_hold and gate_open";
  if (torn({table.export_memory != nullptr, table.import_memory != nullptr, table.close_memory != nullptr}))
    return "export_memory, import_memory and close_memory";
  if (torn({table.allocate_host != nullptr, table.release_host != nullptr}))
    return "allocate_host and release_host";
  return {};
}

// The table as this library knows it.
Result<comityDeviceTable> checked(const comityDeviceTable* given, const std::string& from) {
  if (given == nullptr) return broken(from, "comityDevicePlugin() returned no table");
  if (given->abi != COMITY_DEVICE_ABI)
    return broken(from, fmt::format("it was built for ABI {}, and this library has ABI {}: build it anew "
                                    "against this library's comity/plugin/device_abi.h",
                                    given->abi, COMITY_DEVICE_ABI));
  if (given->size < sizeof(comityDeviceTable))
    return broken(from, fmt::format("its table has {} bytes, and one of ABI {} has {}: is it truncated, or "
                                    "was it built against another header?",
                                    given->size, COMITY_DEVICE_ABI, sizeof(comityDeviceTable)));
  comityDeviceTable table;
  std::memcpy(&table, given, sizeof table);
  if (!is_word(table.name))
    return broken(from, "its name is not a word of at most 32 letters, a to z, 0 to 9");
  if (const auto missing = missing_entry(table); !missing.empty())
    return broken(from, fmt::format("its table lacks {}, which every device must have", missing));
  if (const auto torn = torn_group(table); !torn.empty())
    return broken(from, fmt::format("its table has some of {}: it must have all of them or none", torn));
  return table;
}

}  // namespace

DeviceRuntime::DeviceRuntime(const comityDeviceTable& table, std::string from)
    : table_(table), from_(std::move(from)), era_(fork_era()) {}

DeviceRuntime::~DeviceRuntime() {
  if (table_.stop != nullptr && era_ == fork_era()) table_.stop();
}

Result<std::shared_ptr<DeviceRuntime>> DeviceRuntime::open(const comityDeviceTable* table, std::string from) {
  COMITY_ASSIGN_OR_RETURN(const comityDeviceTable known, checked(table, from));
  if (const int32_t started = known.start(); started != COMITY_DEVICE_OK) {
    const char* why = known.error_text();
    return Status(started == COMITY_DEVICE_UNSUPPORTED ? Code::kUnsupported : Code::kUnhandledDeviceError,
                  fmt::format("{}: {}", known.name, why != nullptr ? why : "it does not start"));
  }
  const std::shared_ptr<DeviceRuntime> runtime(new DeviceRuntime(known, std::move(from)));
  const int32_t counted = known.device_count(&runtime->device_count_);
  if (counted != COMITY_DEVICE_OK) return runtime->status(counted, "device_count");
  runtime->device_count_ = std::min(runtime->device_count_, kMostDevices);
  return runtime;
}

Result<std::shared_ptr<DeviceRuntime>> DeviceRuntime::load(const std::string& file) {
  auto library = SharedLibrary::open(file.c_str());
  if (!library.ok()) {
    return Status(Code::kUnsupported,
                  fmt::format("the device plugin {} does not open: {}", file, library.status().message()));
  }
  comityDevicePluginFunction plugin = nullptr;
  library->find(plugin, COMITY_DEVICE_PLUGIN_SYMBOL);
  if (plugin == nullptr)
    return broken(file, "it exports no function " COMITY_DEVICE_PLUGIN_SYMBOL ": is it a device plugin?");
  return open(plugin(), file);
}

Status DeviceRuntime::status(int32_t result, std::string_view function) const {
  if (result == COMITY_DEVICE_OK) return {};
  const Code code = result == COMITY_DEVICE_INVALID       ? Code::kInvalidArgument
                    : result == COMITY_DEVICE_UNSUPPORTED ? Code::kUnsupported
                    : result == COMITY_DEVICE_NO_MEMORY   ? Code::kSystemError
                                                          : Code::kUnhandledDeviceError;
  const char* why = table_.error_text();
  return Status(code, fmt::format("{}: {}: {}", table_.name, function,
                                  why != nullptr && *why != '\0' ? std::string(why)
                                                                 : fmt::format("it answered {}", result)));
}

Status DeviceRuntime::usable() const {
  if (era_ == fork_era()) return {};
  return Status(Code::kUnsupported,
                fmt::format("{}: a child of fork() cannot use the device that its parent opened", name()));
}

}  // namespace comity
