// The v-variants of the C API: counts and displacements in elements become blocks in bytes.
#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "src/api/arguments.h"
#include "src/api/guard.h"
#include "src/api/hand_over.h"
#include "src/api/handle.h"

namespace comity::api {
namespace {

// A buffer as the caller gave it: one block of `count` elements, or one for every rank.
struct Side {
  const char* name;
  const char* counts_name;
  void* buffer;
  bool used = true;    // by this rank
  bool blocks = true;  // else `count`
  const size_t* counts = nullptr;
  const size_t* displs = nullptr;
  size_t count = 0;
};

struct Arguments {
  Place place;
  Collective collective;
  Side input, output;
  int type;  // as given: may be no value of its enumeration
  int op;
  int root;
};

// Of one side, in bytes.
struct Table {
  std::vector<uint64_t> lengths, offsets;
  engine::BlockTable view() const { return {lengths, offsets}; }
};

// Kept, so that calls do not allocate. A call has left them when its function returns.
struct Tables {
  Table input, output;
};
Tables& tables() {
  thread_local Tables kept;
  return kept;
}

Status too_long(const Place& place, const Side& side, size_t block) {
  return wrong(place, fmt::format("{}[{}] = {} and its place are more than an address space holds",
                                  side.counts_name, block, side.counts[block]));
}

// What lies in order is looked at for overlaps, which costs nothing; the rest is the caller's word.
Status check_overlap(const Place& place, const Side& side, const Table& table, size_t block) {
  const size_t before = block - 1;
  const uint64_t begin = table.offsets[before], end = begin + table.lengths[before];
  if (table.lengths[block] == 0 || table.offsets[block] < begin || table.offsets[block] >= end) return {};
  return wrong(place, fmt::format("blocks {} and {} of {} overlap", before, block, side.name));
}

// Fills the table. `most`: where the last byte ends.
Status lay_out(const Place& place, const Side& side, bool written, size_t element, Table& table,
               uint64_t& most) {
  table.lengths.clear();
  table.offsets.clear();
  if (side.counts == nullptr) return wrong(place, fmt::format("{} is NULL", side.counts_name));
  uint64_t next = 0;
  for (size_t block = 0; block < place.comm->nranks(); ++block) {
    uint64_t bytes = 0, offset = next;
    if (__builtin_mul_overflow(side.counts[block], element, &bytes) ||
        (side.displs != nullptr && __builtin_mul_overflow(side.displs[block], element, &offset)) ||
        bytes > kTooManyBytes || offset > kTooManyBytes - bytes) {
      return too_long(place, side, block);
    }
    next = offset + bytes;
    table.lengths.push_back(bytes);
    table.offsets.push_back(offset);
    if (bytes != 0) most = std::max(most, next);
    if (written && block > 0 && table.lengths[block - 1] != 0)
      COMITY_RETURN_IF_ERROR(check_overlap(place, side, table, block));
  }
  return {};
}

Status check_side(const Arguments& a, const Side& side, bool written, Table& table) {
  const size_t element = size_of(static_cast<DataType>(a.type));
  table.lengths.clear();
  table.offsets.clear();
  if (!side.used) return {};
  uint64_t bytes = 0;
  if (side.blocks) {
    COMITY_RETURN_IF_ERROR(lay_out(a.place, side, written, element, table, bytes));
  } else {
    if (side.count > kTooManyBytes / element)
      return wrong(a.place,
                   fmt::format("{} {} is more than an address space holds", side.counts_name, side.count));
    bytes = side.count * element;
  }
  return bytes == 0 ? Status() : check_buffer(a.place, side.name, side.buffer, element, bytes);
}

Status check_own(const Arguments& a, const Tables& all) {
  const uint32_t rank = a.place.comm->rank();
  const size_t element = size_of(static_cast<DataType>(a.type));
  const auto length = [&](const Side& side, const Table& table) {
    return side.blocks ? table.lengths[rank] : side.count * element;
  };
  if (!a.input.used || !a.output.used) return {};
  const uint64_t sent = length(a.input, all.input), received = length(a.output, all.output);
  if (sent != received) {
    return wrong(a.place, fmt::format("this rank sends itself {} elements and receives {}", sent / element,
                                      received / element));
  }
  if (a.collective == Collective::kAllToAllV && a.input.buffer != nullptr &&
      a.input.buffer == a.output.buffer)
    return wrong(a.place, "sendbuff and recvbuff are the same; an all-to-all is never in place");
  return {};
}

Status check(const Arguments& a, Tables& all, engine::Call& call) {
  COMITY_RETURN_IF_ERROR(check_type(a.place, a.type));
  COMITY_RETURN_IF_ERROR(take_operation(a.place, a.op, a.type, call));
  COMITY_RETURN_IF_ERROR(check_side(a, a.input, false, all.input));
  COMITY_RETURN_IF_ERROR(check_side(a, a.output, true, all.output));
  return check_own(a, all);
}

// Elements of the buffer that is one block.
size_t single_count(const Arguments& a) {
  if (!a.input.blocks) return a.input.count;
  return a.output.blocks ? 0 : a.output.count;
}

comityResult_t carry_out(const Arguments& a) {
  Tables& all = tables();
  engine::Call call;
  Status checked = check(a, all, call);
  if (checked.ok()) {
    call.collective = a.collective;
    call.type = static_cast<DataType>(a.type);
    call.root = static_cast<uint32_t>(a.root);
    call.count = single_count(a);
    call.input = a.input.used ? a.input.buffer : nullptr;
    call.output = a.output.used ? a.output.buffer : nullptr;
    if (a.input.used && a.input.blocks) call.input_blocks = all.input.view();
    if (a.output.used && a.output.blocks) call.output_blocks = all.output.view();
  }
  return hand_over(a.place.comm, call, a.place.stream, a.place.function, std::move(checked));
}

// `make`: the arguments of a live communicator with a right root.
template <typename Make>
comityResult_t submit(const Place& place, int root, Make make) {
  return guarded(place.function, [&] {
    Status checked = check_place(place);
    if (checked.ok()) checked = check_rank(place, "root", root);
    if (!checked.ok())
      return hand_over(place.comm, engine::Call(), place.stream, place.function, std::move(checked));
    return carry_out(make());
  });
}

void* unwritten(const void* buffer) {
  return const_cast<void*>(buffer);
}

}  // namespace
}  // namespace comity::api

using comity::Collective;
using comity::api::Arguments;
using comity::api::number_of;
using comity::api::Place;
using comity::api::Side;
using comity::api::submit;
using comity::api::unwritten;

extern "C" comityResult_t comityAllGatherV(const void* sendbuff, void* recvbuff, const size_t* recvcounts,
                                           const size_t* recvdispls, comityDataType_t datatype,
                                           comityComm_t comm, comityStream_t stream) {
  const Place place{"comityAllGatherV", comm, stream};
  return submit(place, 0, [&] {
    const size_t own = recvcounts == nullptr ? 0 : recvcounts[comm->rank()];
    return Arguments{
        place,
        Collective::kAllGatherV,
        Side{"sendbuff", "recvcounts[rank]", unwritten(sendbuff), true, false, nullptr, nullptr, own},
        Side{"recvbuff", "recvcounts", recvbuff, true, true, recvcounts, recvdispls},
        number_of(datatype),
        comitySum,
        0};
  });
}

extern "C" comityResult_t comityReduceScatterV(const void* sendbuff, void* recvbuff, const size_t* sendcounts,
                                               const size_t* senddispls, comityDataType_t datatype,
                                               comityRedOp_t op, comityComm_t comm, comityStream_t stream) {
  const Place place{"comityReduceScatterV", comm, stream};
  return submit(place, 0, [&] {
    const size_t own = sendcounts == nullptr ? 0 : sendcounts[comm->rank()];
    return Arguments{place,
                     Collective::kReduceScatterV,
                     Side{"sendbuff", "sendcounts", unwritten(sendbuff), true, true, sendcounts, senddispls},
                     Side{"recvbuff", "sendcounts[rank]", recvbuff, true, false, nullptr, nullptr, own},
                     number_of(datatype),
                     number_of(op),
                     0};
  });
}

extern "C" comityResult_t comityAlltoAllV(const void* sendbuff, const size_t* sendcounts,
                                          const size_t* senddispls, void* recvbuff, const size_t* recvcounts,
                                          const size_t* recvdispls, comityDataType_t datatype,
                                          comityComm_t comm, comityStream_t stream) {
  const Place place{"comityAlltoAllV", comm, stream};
  return submit(place, 0, [&] {
    return Arguments{place,
                     Collective::kAllToAllV,
                     Side{"sendbuff", "sendcounts", unwritten(sendbuff), true, true, sendcounts, senddispls},
                     Side{"recvbuff", "recvcounts", recvbuff, true, true, recvcounts, recvdispls},
                     number_of(datatype),
                     comitySum,
                     0};
  });
}

extern "C" comityResult_t comityGatherV(const void* sendbuff, size_t sendcount, void* recvbuff,
                                        const size_t* recvcounts, const size_t* recvdispls,
                                        comityDataType_t datatype, int root, comityComm_t comm,
                                        comityStream_t stream) {
  const Place place{"comityGatherV", comm, stream};
  return submit(place, root, [&] {
    const bool is_root = root == static_cast<int>(comm->rank());
    return Arguments{
        place,
        Collective::kGatherV,
        Side{"sendbuff", "sendcount", unwritten(sendbuff), true, false, nullptr, nullptr, sendcount},
        Side{"recvbuff", "recvcounts", recvbuff, is_root, true, recvcounts, recvdispls},
        number_of(datatype),
        comitySum,
        root};
  });
}

extern "C" comityResult_t comityScatterV(const void* sendbuff, const size_t* sendcounts,
                                         const size_t* senddispls, void* recvbuff, size_t recvcount,
                                         comityDataType_t datatype, int root, comityComm_t comm,
                                         comityStream_t stream) {
  const Place place{"comityScatterV", comm, stream};
  return submit(place, root, [&] {
    const bool is_root = root == static_cast<int>(comm->rank());
    return Arguments{
        place,
        Collective::kScatterV,
        Side{"sendbuff", "sendcounts", unwritten(sendbuff), is_root, true, sendcounts, senddispls},
        Side{"recvbuff", "recvcount", recvbuff, true, false, nullptr, nullptr, recvcount},
        number_of(datatype),
        comitySum,
        root};
  });
}
