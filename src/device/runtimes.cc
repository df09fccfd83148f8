#include "src/device/runtimes.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <system_error>

#include "src/base/settings.h"
#include "src/base/text.h"
#include "src/device/dialect/dialect_table.h"
#include "src/device/host/host_table.h"
#include "src/device/sim/sim_table.h"
#ifdef COMITY_HAS_OPENCL
#include "src/device/opencl/opencl_table.h"
#endif

namespace comity {
namespace {

constexpr std::string_view kPrefix = "libcomity_device_";
constexpr std::string_view kSuffix = ".so";

struct BuiltIn {
  std::string_view name;
  const comityDeviceTable& (*table)();
};
constexpr BuiltIn kBuiltIn[] = {
#ifdef COMITY_HAS_OPENCL
    {"opencl", opencl::table},
#endif
    {"sim", sim_table},
};

std::string plugin_file(std::string_view name) {
  const std::string folders = setting_text("COMITY_PLUGIN_PATH");
  for (const std::string_view folder : split_list(folders, ':')) {
    std::string file = fmt::format("{}/{}{}{}", folder, kPrefix, name, kSuffix);
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error)) return file;
  }
  return {};
}

Result<std::shared_ptr<DeviceRuntime>> open_anew(const std::string& name) {
  if (name.find('/') != std::string::npos) return DeviceRuntime::load(name);
  for (const dialect::NamedTable& each : dialect::tables()) {
    if (each.name == name) return DeviceRuntime::open(&each.table(), "built in");
  }
  const auto* const known = std::find_if(std::begin(kBuiltIn), std::end(kBuiltIn),
                                         [&](const BuiltIn& each) { return each.name == name; });
  if (name == "host") return DeviceRuntime::open(&host_table(), "built in");
  if (known != std::end(kBuiltIn)) return DeviceRuntime::open(&known->table(), "built in");
  if (const std::string file = plugin_file(name); !file.empty()) return DeviceRuntime::load(file);
  std::string names = "host";
  for (const std::string_view each : built_in_devices()) names += fmt::format(", {}", each);
  return Status(Code::kInvalidArgument,
                fmt::format("\"{}\" is not a device: there are {}, and plugins {}NAME{} in the folders of "
                            "COMITY_PLUGIN_PATH, which is {}",
                            name, names, kPrefix, kSuffix,
                            setting_text("COMITY_PLUGIN_PATH").empty() ? "not set"
                                                                       : setting_text("COMITY_PLUGIN_PATH")));
}

}  // namespace

std::vector<std::string_view> built_in_devices() {
  std::vector<std::string_view> names;
  for (const BuiltIn& each : kBuiltIn) names.push_back(each.name);
  for (const dialect::NamedTable& each : dialect::tables()) names.push_back(each.name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> plugins_in_path() {
  std::vector<std::string> names;
  const std::string folders = setting_text("COMITY_PLUGIN_PATH");
  for (const std::string_view folder : split_list(folders, ':')) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
      const std::string file = at->path().filename();
      if (file.size() > kPrefix.size() + kSuffix.size() && file.starts_with(kPrefix) &&
          file.ends_with(kSuffix))
        names.push_back(file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size()));
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

// Opening is serialised: it may load a driver, which is not always ready for two at once.
Result<std::shared_ptr<DeviceRuntime>> open_runtime(std::string_view name_or_file) {
  static std::mutex mutex;
  static auto* const open = new std::map<std::string, std::weak_ptr<DeviceRuntime>, std::less<>>();
  const std::lock_guard lock(mutex);
  const auto found = open->find(name_or_file);
  if (found != open->end()) {
    std::shared_ptr<DeviceRuntime> runtime = found->second.lock();
    if (runtime != nullptr && runtime->usable().ok()) return runtime;
  }
  const std::string name(name_or_file);
  COMITY_ASSIGN_OR_RETURN(std::shared_ptr<DeviceRuntime> runtime, open_anew(name));
  (*open)[name] = runtime;
  return runtime;
}

}  // namespace comity
