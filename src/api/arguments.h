// What the calls of the C API check of their arguments alike. An error names the function and the rank.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "comity/plugin/types.h"
#include "src/engine/call.h"

namespace comity::api {

// More bytes than any buffer has.
inline constexpr uint64_t kTooManyBytes = uint64_t{1} << 56;

// The number behind a caller's enumerator, which may be none: it is not read as an enumerator before it was
// checked.
template <typename Enum>
int number_of(const Enum& value) {
  int number = 0;
  static_assert(sizeof value == sizeof number);
  std::memcpy(&number, &value, sizeof number);
  return number;
}

// Who is called, with what; the handles are checked before the rest.
struct Place {
  const char* function;
  comityComm_t comm;
  comityStream_t stream;
};

// "comityAllReduce, rank 1", and the communicator's name, if it has one.
std::string caller_of(const Place& place);
Status wrong(const Place& place, const std::string& what);
// Whether the handles are live.
Status check_place(const Place& place);
Status check_type(const Place& place, int type);
// `what`: "root", "peer".
Status check_rank(const Place& place, const char* what, int rank);
// The error of a number that is no enumerator's and none of the communicator's operations.
Status no_operation(const Place& place, int op);
// Puts what `op` stands for with elements of a checked type into the call.
Status take_operation(const Place& place, int op, int type, engine::Call& call);
// Of a buffer called `name` with so many bytes, more than 0.
Status check_buffer(const Place& place, const char* name, const void* pointer, size_t element,
                    uint64_t bytes);

}  // namespace comity::api
