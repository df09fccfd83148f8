// The runtimes of devices that this process can open, by name: those that are built in, and plugins.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "src/device/table/runtime.h"

namespace comity {

// The names of those that are built in, but the host, in order.
std::vector<std::string_view> built_in_devices();
// Files libcomity_device_NAME.so in the folders of COMITY_PLUGIN_PATH, by name. Blocks as reading folders
// does; nothing is opened.
std::vector<std::string> plugins_in_path();

// The runtime of a name ("host" too), or of a plugin's file (a text with a '/'): opened at first use, shared
// by all who hold it. Any thread; blocks as opening it does. kInvalidArgument: no such name; kUnsupported:
// it is not on this machine; kInvalidUsage: a plugin that breaks the contract.
Result<std::shared_ptr<DeviceRuntime>> open_runtime(std::string_view name_or_file);

}  // namespace comity
