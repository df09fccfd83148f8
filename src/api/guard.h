// The C boundary: no exception crosses it. What the standard library throws (memory, threads) becomes
// comitySystemError.
#pragma once

#include <exception>
#include <string>

#include "src/api/errors.h"

namespace comity::api {

template <typename Body>
comityResult_t guarded(const char* function, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception& thrown) {
    try {
      return remember({Code::kSystemError,
                       std::string(function) + ": the system refused memory or a thread: " + thrown.what()});
    } catch (...) {
      return comitySystemError;  // not even memory for the sentence
    }
  } catch (...) {
    return comityInternalError;
  }
}

}  // namespace comity::api
