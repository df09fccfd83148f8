#include "src/api/errors.h"

namespace comity::api {
namespace {

thread_local std::string last;

}  // namespace

comityResult_t code_of(const Status& status) {
  if (status.code() == Code::kUnsupported) return comityInvalidUsage;
  return static_cast<comityResult_t>(status.code());
}

comityResult_t remember(const Status& status) {
  if (status.ok()) return comitySuccess;
  last = status.message();
  return code_of(status);
}

const char* last_error() {
  return last.c_str();
}

}  // namespace comity::api

extern "C" const char* comityGetErrorString(comityResult_t result) {
  switch (result) {
    case comitySuccess:
      return "no error";
    case comityUnhandledDeviceError:
      return "a device's runtime failed";
    case comitySystemError:
      return "the operating system refused: memory, sockets or descriptors";
    case comityInternalError:
      return "internal error: a defect of Comity itself";
    case comityInvalidArgument:
      return "invalid argument: the call had no effect";
    case comityInvalidUsage:
      return "invalid usage: not now, or ranks made different calls";
    case comityRemoteError:
      return "another rank failed, died or aborted";
    case comityInProgress:
      return "not finished yet";
    case comityTimeout:
      return "a deadline passed";
    default:
      return "unknown result code";
  }
}

extern "C" comityResult_t comityGetVersion(int* version) {
  if (version == nullptr) {
    return comity::api::remember({comity::Code::kInvalidArgument, "comityGetVersion: version is NULL"});
  }
  *version = COMITY_VERSION_CODE;
  return comitySuccess;
}
