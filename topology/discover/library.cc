#include "topology/discover/library.h"

#include <dlfcn.h>
#include <fmt/core.h>

namespace comity::topology {

Result<Library> Library::open(const std::string& file, const std::vector<std::string>& names) {
  std::string why;
  for (const std::string& name : file.empty() ? names : std::vector<std::string>{file}) {
    Library library;
    library.handle_ = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
    library.name_ = name;
    if (library.handle_ != nullptr) return library;
    const char* error = dlerror();
    if (why.empty() && error != nullptr) why = error;
  }
  return Status(Code::kUnsupported, fmt::format("not here ({})", why));
}

void* Library::address(const char* name) const {
  return dlsym(handle_, name);
}

Status Library::complete() const {
  if (missing_.empty()) return {};
  return Status(
      Code::kUnsupported,
      fmt::format("{} has no function {}: it is too old or not what its name says", name_, missing_));
}

}  // namespace comity::topology
