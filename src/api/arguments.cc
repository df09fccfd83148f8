#include "src/api/arguments.h"

#include <fmt/core.h>

#include "src/api/handle.h"
#include "src/api/stream_handle.h"
#include "src/base/text.h"

namespace comity::api {

Status wrong(const Place& place, const std::string& what) {
  return Status(Code::kInvalidArgument, fmt::format("{}: {}", caller_of(place), what));
}

std::string caller_of(const Place& place) {
  return about_communicator(fmt::format("{}, rank {}", place.function, place.comm->rank()), place.comm->name);
}

Status check_place(const Place& place) {
  const comityComm_t comm = place.comm;
  if (comm == nullptr || comm->state.load(std::memory_order_acquire) != kLive ||
      comm->magic != comityComm::kMagic) {
    return check_handle(comm, place.function);
  }
  return place.stream == nullptr ? Status() : check_small_handle(place.stream, "stream", place.function);
}

Status check_type(const Place& place, int type) {
  return static_cast<unsigned>(type) < kDataTypeCount
             ? Status()
             : wrong(place, fmt::format("datatype {} is none", type));
}

Status check_rank(const Place& place, const char* what, int rank) {
  if (rank >= 0 && rank < static_cast<int>(place.comm->nranks())) return {};
  return wrong(place, fmt::format("{} {} is not in 0..{}", what, rank, place.comm->nranks() - 1));
}

Status no_operation(const Place& place, int op) {
  return wrong(place, fmt::format("op {} is no operation of this communicator's own: "
                                  "it was given back, is another communicator's or was never made",
                                  op));
}

Status take_operation(const Place& place, int op, int type, engine::Call& call) {
  if (static_cast<unsigned>(op) < kRedOpCount) {
    call.op = static_cast<RedOp>(op);
    return {};
  }
  const auto found = place.comm->operations.find(op);
  if (found == place.comm->operations.end())
    return op < kRedOpCount ? wrong(place, fmt::format("op {} is none", op)) : no_operation(place, op);
  const Operation& operation = found->second;
  if (operation.type != static_cast<DataType>(type)) {
    return wrong(place, fmt::format("op {} was made for {}, and datatype is {}", op, name_of(operation.type),
                                    name_of(static_cast<DataType>(type))));
  }
  call.op = RedOp::kSum;
  call.scalar = operation.scalar;
  return {};
}

Status check_buffer(const Place& place, const char* name, const void* pointer, size_t element,
                    uint64_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (pointer == nullptr)
    return wrong(place, fmt::format("{} is NULL and count is {}", name, bytes / element));
  if (address % element != 0) {
    return wrong(place,
                 fmt::format("{} {} is not a multiple of the type's size, {}", name, pointer, element));
  }
  if (bytes > UINTPTR_MAX - address)
    return wrong(place, fmt::format("{} {} and {} bytes wrap the address space", name, pointer, bytes));
  return {};
}

}  // namespace comity::api
