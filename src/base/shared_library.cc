#include "src/base/shared_library.h"

#include <dlfcn.h>

namespace comity {

Result<SharedLibrary> SharedLibrary::open(const char* file) {
  void* const handle = ::dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return Status(Code::kUnsupported, ::dlerror());
  return SharedLibrary(handle);
}

void* SharedLibrary::address_of(const char* name) {
  void* const found = ::dlsym(handle_, name);
  if (found == nullptr) missing_ = name;
  return found;
}

}  // namespace comity
