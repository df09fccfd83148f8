// The collectives of the C API: check the arguments, then run the call or add it to the open group.
#include <fmt/core.h>

#include "src/api/arguments.h"
#include "src/api/guard.h"
#include "src/api/hand_over.h"
#include "src/api/handle.h"

namespace comity::api {
namespace {

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

Place place_of(const Arguments& a) {
  return {a.function, a.comm, a.stream};
}

// Buffers that this rank reads and writes; the others may be NULL.
bool uses_input(const Arguments& a) {
  return !gives_from_root(a.collective) || a.root == static_cast<int>(a.comm->rank());
}
bool uses_output(const Arguments& a) {
  return !takes_to_root(a.collective) || a.root == static_cast<int>(a.comm->rank());
}

Status check_buffers(const Arguments& a) {
  const size_t element = size_of(static_cast<DataType>(a.type));
  const uint64_t blocks = a.comm->nranks();
  uint64_t bytes = 0, all = 0;
  if (__builtin_mul_overflow(a.count, element, &bytes) || __builtin_mul_overflow(bytes, blocks, &all) ||
      all > kTooManyBytes) {
    return wrong(place_of(a), fmt::format("count {} of {} on {} ranks is more than an address space holds",
                                          a.count, name_of(static_cast<DataType>(a.type)), blocks));
  }
  if (uses_input(a)) {
    COMITY_RETURN_IF_ERROR(check_buffer(place_of(a), "sendbuff", a.input, element,
                                        has_input_blocks(a.collective) ? all : bytes));
  }
  if (uses_output(a)) {
    COMITY_RETURN_IF_ERROR(check_buffer(place_of(a), "recvbuff", a.output, element,
                                        has_output_blocks(a.collective) ? all : bytes));
  }
  if (a.collective == Collective::kAllToAll && a.input == a.output)
    return wrong(place_of(a), "sendbuff and recvbuff are the same; an all-to-all is never in place");
  return {};
}

Status check(const Arguments& a, engine::Call& call) {
  const Place place = place_of(a);
  COMITY_RETURN_IF_ERROR(check_place(place));
  if (a.collective == Collective::kBarrier) return {};
  COMITY_RETURN_IF_ERROR(check_type(place, a.type));
  COMITY_RETURN_IF_ERROR(take_operation(place, a.op, a.type, call));
  COMITY_RETURN_IF_ERROR(check_rank(place, "root", a.root));
  return a.count == 0 ? Status() : check_buffers(a);
}

comityResult_t carry_out(const Arguments& a) {
  engine::Call call;
  Status checked = check(a, call);
  call.collective = a.collective;
  call.type = static_cast<DataType>(a.type);
  call.count = a.count;
  call.root = static_cast<uint32_t>(a.root);
  // What this rank does not use may be anything.
  call.input = checked.ok() && uses_input(a) ? a.input : nullptr;
  call.output = checked.ok() && uses_output(a) ? a.output : nullptr;
  return hand_over(a.comm, call, a.stream, a.function, std::move(checked));
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

extern "C" comityResult_t comityAlltoAll(const void* sendbuff, void* recvbuff, size_t count,
                                         comityDataType_t datatype, comityComm_t comm,
                                         comityStream_t stream) {
  return submit({"comityAlltoAll", Collective::kAllToAll, sendbuff, recvbuff, count, number_of(datatype),
                 comitySum, 0, comm, stream});
}

extern "C" comityResult_t comityGather(const void* sendbuff, void* recvbuff, size_t count,
                                       comityDataType_t datatype, int root, comityComm_t comm,
                                       comityStream_t stream) {
  return submit({"comityGather", Collective::kGather, sendbuff, recvbuff, count, number_of(datatype),
                 comitySum, root, comm, stream});
}

extern "C" comityResult_t comityScatter(const void* sendbuff, void* recvbuff, size_t count,
                                        comityDataType_t datatype, int root, comityComm_t comm,
                                        comityStream_t stream) {
  return submit({"comityScatter", Collective::kScatter, sendbuff, recvbuff, count, number_of(datatype),
                 comitySum, root, comm, stream});
}

extern "C" comityResult_t comityBarrier(comityComm_t comm, comityStream_t stream) {
  return submit(
      {"comityBarrier", Collective::kBarrier, nullptr, nullptr, 0, comityInt8, comitySum, 0, comm, stream});
}
