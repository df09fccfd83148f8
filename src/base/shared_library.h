// A library that is opened at run time, when it is wanted, and stays as long as the process: many libraries
// undo nothing of what they did to it.
#pragma once

#include <string>

#include "comity/plugin/result.h"

namespace comity {

class SharedLibrary {
 public:
  // kUnsupported: what the loader says. Any thread; may block as reading files does.
  static Result<SharedLibrary> open(const char* file);

  // Looks a function up; null where the library has none of that name, which missing() then names.
  template <typename Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(address_of(name));
  }
  // The last one that was not found; empty: all were.
  const std::string& missing() const { return missing_; }

 private:
  explicit SharedLibrary(void* handle) : handle_(handle) {}
  void* address_of(const char* name);

  void* handle_;
  std::string missing_;
};

}  // namespace comity
