// Which RDMA devices this process can reach through libibverbs: figures of ports are the kernel's (rdma.h),
// but without the provider's library and the device's file nothing can be sent.
#pragma once

#include <string>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::topology {

// Names of devices; errors as of vendor.h. Blocks as long as the library does.
Result<std::vector<std::string>> devices_of_verbs(const std::string& file);

}  // namespace comity::topology
