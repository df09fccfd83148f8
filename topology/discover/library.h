// A library opened at run time, and its functions by name.
#pragma once

#include <string>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::topology {

class Library {
 public:
  // The first of `names` that can be opened, or `file` alone if it is not empty. It is never closed.
  // kUnsupported says what the loader said.
  static Result<Library> open(const std::string& file, const std::vector<std::string>& names);

  // function = its address, or null; false: null.
  template <typename Function>
  bool optional(const char* name, Function*& function) const {
    function = reinterpret_cast<Function*>(address(name));
    return function != nullptr;
  }
  // As optional(); the first that is missing is remembered.
  template <typename Function>
  Library& required(const char* name, Function*& function) {
    if (!optional(name, function) && missing_.empty()) missing_ = name;
    return *this;
  }
  // kUnsupported if a required function was missing.
  Status complete() const;

 private:
  void* address(const char* name) const;
  void* handle_ = nullptr;
  std::string name_;
  std::string missing_;
};

}  // namespace comity::topology
