// Send and Recv of the C API: each is an exchange of one, which a group merges with its others.
#include <fmt/core.h>

#include "src/api/arguments.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/hand_over.h"
#include "src/api/handle.h"

namespace comity::api {
namespace {

struct Message {
  bool sends;
  void* buffer;
  size_t count;
  int type;  // as given: may be no value of its enumeration
  int peer;
};

Status check(const Place& place, const Message& message) {
  COMITY_RETURN_IF_ERROR(check_place(place));
  COMITY_RETURN_IF_ERROR(check_type(place, message.type));
  COMITY_RETURN_IF_ERROR(check_rank(place, "peer", message.peer));
  const size_t element = size_of(static_cast<DataType>(message.type));
  if (message.count > kTooManyBytes / element) {
    return wrong(place, fmt::format("count {} of {} is more than an address space holds", message.count,
                                    name_of(static_cast<DataType>(message.type))));
  }
  if (message.count != 0) {
    COMITY_RETURN_IF_ERROR(check_buffer(place, message.sends ? "sendbuff" : "recvbuff", message.buffer,
                                        element, message.count * element));
  }
  if (message.peer != static_cast<int>(place.comm->rank()) || group_open()) return {};
  return Status(Code::kInvalidUsage, caller_of(place) +
                                         ": the peer is this rank itself; put the Send and "
                                         "its Recv into one group");
}

comityResult_t submit(const Place& place, const Message& message) {
  return guarded(place.function, [&] {
    Status checked = check(place, message);
    const engine::PointToPoint one{message.sends, static_cast<uint32_t>(message.peer),
                                   static_cast<DataType>(message.type), message.count, message.buffer};
    engine::Call call;
    call.collective = Collective::kExchange;
    call.exchange = std::span(&one, 1);
    return hand_over(place.comm, call, place.stream, place.function, std::move(checked));
  });
}

}  // namespace
}  // namespace comity::api

using comity::api::number_of;
using comity::api::submit;

extern "C" comityResult_t comitySend(const void* sendbuff, size_t count, comityDataType_t datatype, int peer,
                                     comityComm_t comm, comityStream_t stream) {
  return submit({"comitySend", comm, stream},
                {true, const_cast<void*>(sendbuff), count, number_of(datatype), peer});
}

extern "C" comityResult_t comityRecv(void* recvbuff, size_t count, comityDataType_t datatype, int peer,
                                     comityComm_t comm, comityStream_t stream) {
  return submit({"comityRecv", comm, stream}, {false, recvbuff, count, number_of(datatype), peer});
}
