// From Status to the C API's result codes, and the sentence that comityGetLastError gives.
#pragma once

#include <string>

#include "comity/comity.h"
#include "comity/plugin/result.h"

namespace comity::api {

// The C API's code of a status; kUnsupported, which never leaves the library, becomes comityInternalError.
comityResult_t code_of(const Status& status);
// Remembers the status as the calling thread's last error, if it is one, and returns its code.
comityResult_t remember(const Status& status);
// The calling thread's last error; "" if there was none. Valid until the thread's next error.
const char* last_error();

}  // namespace comity::api
