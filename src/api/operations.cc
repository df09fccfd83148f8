// Operations of a communicator's own: comityRedOpCreatePreMulSum and comityRedOpDestroy.
#include <fmt/core.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstring>

#include "src/api/arguments.h"
#include "src/api/errors.h"
#include "src/api/guard.h"
#include "src/api/handle.h"

namespace comity::api {
namespace {

struct Wanted {
  comityRedOp_t* op;
  void* scalar;
  int type;  // as given, as is the next: may be no value of its enumeration
  int residence;
};

// The process's, not a communicator's: so the number of another communicator's operation is none here, and
// that of one given back stays none until all numbers were used.
int next_number() {
  static std::atomic<uint64_t> made{0};
  return comityNumOps +
         static_cast<int>(made.fetch_add(1, std::memory_order_relaxed) % (INT_MAX - comityNumOps));
}

Status create(const Place& place, const Wanted& wanted) {
  COMITY_RETURN_IF_ERROR(check_place(place));
  if (wanted.op == nullptr) return wrong(place, "op is NULL");
  COMITY_RETURN_IF_ERROR(check_type(place, wanted.type));
  const bool immediate = wanted.residence == comityScalarHostImmediate;
  if (!immediate && wanted.residence != comityScalarDevice)
    return wrong(place, fmt::format("residence {} is none", wanted.residence));
  if (wanted.scalar == nullptr) return wrong(place, "scalar is NULL");
  const InCall in_call(place.comm);
  if (!in_call.ok()) return in_call.why(place.function);
  Operation operation;
  operation.type = static_cast<DataType>(wanted.type);
  operation.scalar.used = true;
  if (immediate)
    std::memcpy(operation.scalar.value.data(), wanted.scalar, size_of(operation.type));
  else
    operation.scalar.pointer = wanted.scalar;
  int number = next_number();
  while (!place.comm->operations.try_emplace(number, operation).second) number = next_number();
  std::memcpy(wanted.op, &number, sizeof number);
  return {};
}

Status destroy(const Place& place, int op) {
  COMITY_RETURN_IF_ERROR(check_place(place));
  const InCall in_call(place.comm);
  if (!in_call.ok()) return in_call.why(place.function);
  if (place.comm->operations.erase(op) == 1) return {};
  if (op < 0 || op >= kRedOpCount) return no_operation(place, op);
  return wrong(place, fmt::format("op {} ({}) is every communicator's and is never given back", op,
                                  name_of(static_cast<RedOp>(op))));
}

}  // namespace
}  // namespace comity::api

extern "C" comityResult_t comityRedOpCreatePreMulSum(comityRedOp_t* op, void* scalar,
                                                     comityDataType_t datatype,
                                                     comityScalarResidence_t residence, comityComm_t comm) {
  using namespace comity::api;  // NOLINT(google-build-using-namespace): a C function is in no namespace
  return guarded("comityRedOpCreatePreMulSum", [&] {
    return remember(create({"comityRedOpCreatePreMulSum", comm, nullptr},
                           {op, scalar, number_of(datatype), number_of(residence)}));
  });
}

extern "C" comityResult_t comityRedOpDestroy(comityRedOp_t op, comityComm_t comm) {
  using namespace comity::api;  // NOLINT(google-build-using-namespace): as above
  return guarded("comityRedOpDestroy", [&] {
    return remember(destroy({"comityRedOpDestroy", comm, nullptr}, number_of(op)));
  });
}
