// What a `<collective>_perf` program says about its collective; the shared core does the rest.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "comity/comity.h"
#include "comity/plugin/types.h"

namespace comity::perf {

// How many elements a call takes for a row of the table.
struct Shape {
  size_t send_count = 0;
  size_t recv_count = 0;
  size_t argument = 0;  // the count that the call is given, and the column "count"
};

// One call's arguments.
struct Call {
  const void* send = nullptr;
  void* recv = nullptr;
  size_t count = 0;
  comityDataType_t type = comityFloat32;
  comityRedOp_t op = comitySum;
  int root = 0;
  comityComm_t comm = COMITY_COMM_NULL;
  int rank = 0;
  int nranks = 1;
  // What this rank gives to each and gets from each, where blocks have lengths of their own.
  const size_t* send_counts = nullptr;
  const size_t* recv_counts = nullptr;
};

// The whole of a program's own part. Plain functions: nothing is captured, nothing allocated in a call.
struct CollectiveSpec {
  Collective kind;
  bool rooted;  // -r means something
  // From the row's size in elements and the number of ranks; divides where blocks are meant.
  Shape (*shape)(size_t elements, int nranks);
  // busbw = algbw * factor: what makes a figure comparable across numbers of ranks.
  double (*bus_factor)(int nranks);
  comityResult_t (*call)(const Call& call);
  // The program is "<name>_perf"; nothing: the collective's name.
  const char* name = nullptr;
  // False where a call in place is none: the right half of the table stays empty.
  bool has_in_place = true;
};

// The name of a spec's program, without "_perf".
std::string_view name_of(const CollectiveSpec& spec);

// Whose data lies where in a result. `from` is a rank, or kReduced.
struct Piece {
  static constexpr int kReduced = -1;
  int from = kReduced;
  size_t recv_offset = 0;  // elements
  size_t first = 0;        // index of the first element within the pattern
  size_t count = 0;
};

// How many elements rank `from` gives to rank `to` where blocks have lengths of their own: `unit` to nranks
// units, a permutation of them in each row and in each column, so that all ranks give and get the same in
// all.
size_t pair_count(size_t unit, int from, int to, int nranks);

// What rank `rank` must hold afterwards.
std::vector<Piece> expected_pieces(Collective kind, const Shape& shape, int rank, int nranks, int root);

// Whether `rank` passes data in at all.
bool has_input(Collective kind, int rank, int root);

// Offsets in elements of the send and the receive buffer within the one buffer of a call in place.
struct InPlace {
  size_t send_offset = 0;
  size_t recv_offset = 0;
};
InPlace in_place_offsets(Collective kind, const Shape& shape, int rank);

}  // namespace comity::perf
