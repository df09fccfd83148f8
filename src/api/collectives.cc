// The collectives of the C API: check the arguments, then run the call or add it to the open group.
#include <fmt/core.h>

#include <cstring>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/handle.h"

namespace comity::api {
namespace {

// The number behind a caller's enumerator, which may be none: it is not read as an enumerator before it was
// checked.
template <typename Enum>
int number_of(const Enum& value) {
  int number = 0;
  static_assert(sizeof value == sizeof number);
  std::memcpy(&number, &value, sizeof number);
  return number;
}

struct Arguments {
  const char* function;
  Collective collective;
  const void* input;
  void* output;
  size_t count;
  int type;  // as given: may be no value of its enumeration
  int op;
  int root;
  comityComm_t comm;
  comityStream_t stream;
};

Status wrong(const Arguments& a, const std::string& what) {
  return Status(Code::kInvalidArgument, fmt::format("{}, rank {}: {}", a.function, a.comm->rank, what));
}

// Buffers that this rank reads and writes; the others may be NULL.
bool uses_input(const Arguments& a) {
  return a.collective != Collective::kBroadcast || a.root == static_cast<int>(a.comm->rank);
}
bool uses_output(const Arguments& a) {
  return a.collective != Collective::kReduce || a.root == static_cast<int>(a.comm->rank);
}

Status check_buffer(const Arguments& a, const char* name, const void* pointer, size_t element,
                    uint64_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (pointer == nullptr) return wrong(a, fmt::format("{} is NULL and count is {}", name, a.count));
  if (address % element != 0) {
    return wrong(a, fmt::format("{} {} is not a multiple of the type's size, {}", name, pointer, element));
  }
  if (bytes > UINTPTR_MAX - address)
    return wrong(a, fmt::format("{} {} and {} bytes wrap the address space", name, pointer, bytes));
  return {};
}

Status check_buffers(const Arguments& a) {
  const size_t element = size_of(static_cast<DataType>(a.type));
  const uint64_t blocks = a.comm->nranks;
  uint64_t bytes = 0, all = 0;
  if (__builtin_mul_overflow(a.count, element, &bytes) || __builtin_mul_overflow(bytes, blocks, &all) ||
      all > (uint64_t{1} << 56)) {
    return wrong(a, fmt::format("count {} of {} on {} ranks is more than an address space holds", a.count,
                                name_of(static_cast<DataType>(a.type)), blocks));
  }
  if (uses_input(a)) {
    COMITY_RETURN_IF_ERROR(check_buffer(a, "sendbuff", a.input, element,
                                        a.collective == Collective::kReduceScatter ? all : bytes));
  }
  if (uses_output(a)) {
    COMITY_RETURN_IF_ERROR(
        check_buffer(a, "recvbuff", a.output, element, a.collective == Collective::kAllGather ? all : bytes));
  }
  return {};
}

Status check(const Arguments& a) {
  if (a.comm == nullptr || a.comm->state.load(std::memory_order_acquire) != comityComm::kLive ||
      a.comm->magic != comityComm::kMagic) {
    return check_handle(a.comm, a.function);
  }
  if (a.stream != nullptr) {
    return Status(Code::kInvalidUsage,
                  fmt::format("{}, rank {}: stream is not NULL; this version has no streams, pass NULL",
                              a.function, a.comm->rank));
  }
  if (a.collective == Collective::kBarrier) return {};
  if (static_cast<unsigned>(a.type) >= kDataTypeCount)
    return wrong(a, fmt::format("datatype {} is none", a.type));
  if (static_cast<unsigned>(a.op) >= kRedOpCount) return wrong(a, fmt::format("op {} is none", a.op));
  if (a.root < 0 || a.root >= static_cast<int>(a.comm->nranks)) {
    return wrong(a, fmt::format("root {} is not in 0..{}", a.root, a.comm->nranks - 1));
  }
  return a.count == 0 ? Status() : check_buffers(a);
}

Status run_now(const Arguments& a, const engine::Call& call) {
  const InCall in_call(a.comm);
  if (!in_call.ok()) return in_call.why(a.function);
  if (Status status = error_of(a.comm); !status.ok()) return status.in(a.function);
  Status status = a.comm->assembly->engine().run(call);
  return status.ok() ? status : status.in(a.function);
}

comityResult_t carry_out(const Arguments& a) {
  Status checked = check(a);
  engine::Call call;
  call.collective = a.collective;
  call.type = static_cast<DataType>(a.type);
  call.op = static_cast<RedOp>(a.op);
  call.count = a.count;
  call.root = static_cast<uint32_t>(a.root);
  // What this rank does not use may be anything.
  call.input = checked.ok() && uses_input(a) ? a.input : nullptr;
  call.output = checked.ok() && uses_output(a) ? a.output : nullptr;
  if (group_open()) return remember(add_to_group(a.comm, call, std::move(checked)));
  if (checked.ok()) checked = run_now(a, call);
  return checked.ok() ? comitySuccess : remember(checked);
}

comityResult_t submit(const Arguments& a) {
  return guarded(a.function, [&] { return carry_out(a); });
}

}  // namespace
}  // namespace comity::api

using comity::Collective;
using comity::api::number_of;
using comity::api::submit;

extern "C" comityResult_t comityAllReduce(const void* sendbuff, void* recvbuff, size_t count,
                                          comityDataType_t datatype, comityRedOp_t op, comityComm_t comm,
                                          comityStream_t stream) {
  return submit(
      {"comityAllReduce", Collective::kAllReduce, sendbuff, recvbuff, count, datatype, op, 0, comm, stream});
}

extern "C" comityResult_t comityReduce(const void* sendbuff, void* recvbuff, size_t count,
                                       comityDataType_t datatype, comityRedOp_t op, int root,
                                       comityComm_t comm, comityStream_t stream) {
  return submit(
      {"comityReduce", Collective::kReduce, sendbuff, recvbuff, count, datatype, op, root, comm, stream});
}

extern "C" comityResult_t comityBroadcast(const void* sendbuff, void* recvbuff, size_t count,
                                          comityDataType_t datatype, int root, comityComm_t comm,
                                          comityStream_t stream) {
  return submit({"comityBroadcast", Collective::kBroadcast, sendbuff, recvbuff, count, number_of(datatype),
                 comitySum, root, comm, stream});
}

extern "C" comityResult_t comityBcast(void* buff, size_t count, comityDataType_t datatype, int root,
                                      comityComm_t comm, comityStream_t stream) {
  return submit(
      {"comityBcast", Collective::kBroadcast, buff, buff, count, datatype, comitySum, root, comm, stream});
}

extern "C" comityResult_t comityAllGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                                          comityDataType_t datatype, comityComm_t comm,
                                          comityStream_t stream) {
  return submit({"comityAllGather", Collective::kAllGather, sendbuff, recvbuff, sendcount,
                 number_of(datatype), comitySum, 0, comm, stream});
}

extern "C" comityResult_t comityReduceScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                                              comityDataType_t datatype, comityRedOp_t op, comityComm_t comm,
                                              comityStream_t stream) {
  return submit({"comityReduceScatter", Collective::kReduceScatter, sendbuff, recvbuff, recvcount,
                 number_of(datatype), number_of(op), 0, comm, stream});
}

extern "C" comityResult_t comityBarrier(comityComm_t comm, comityStream_t stream) {
  return submit(
      {"comityBarrier", Collective::kBarrier, nullptr, nullptr, 0, comityInt8, comitySum, 0, comm, stream});
}
