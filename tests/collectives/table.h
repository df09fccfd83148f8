// The table: every combination of what a collective can be asked for, and the choice of rows for a run.
//
// One table and one loop: each rank walks the same rows in the same order over a persistent communicator, so
// no coordination is needed beyond the collectives themselves, and a row that differs between ranks shows as
// an error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/pattern.h"

namespace comity::test {

// Where a row's buffers lie; kDevice: on the device of the choice that is this rank's.
enum class Memory : uint8_t { kMalloc, kMemAlloc, kDevice };

// Where premulsum's scalar lies: on the device where the buffers do, and else in host memory that is read
// when the operation is made; or where it says, read when the operation is used (kHost, kSimDevice).
enum class ScalarAt : uint8_t { kAsMemory, kImmediate, kHost, kSimDevice };

struct TableRow {
  Row row;
  Memory memory = Memory::kMalloc;
  ScalarAt scalar = ScalarAt::kAsMemory;
};
std::string describe(const TableRow& row);

struct TableChoice {
  uint32_t nranks = 2;
  std::vector<Memory> memories = {Memory::kMalloc, Memory::kMemAlloc};
  bool pairwise = false;  // a seeded set in which every pair of values of two columns occurs
  uint64_t seed = 1;
  std::vector<Collective> collectives;  // empty: all
  // By rank, over and over: the name of a device, or two, "host>opencl", where input and output differ.
  std::vector<std::string> devices = {"sim"};
};

// Rows of 9 collectives, 5 v-variants and a ring of Sends and Recvs x 12 types x ops, premulsum included x
// in/out of place x memories x sizes {0, 1, below p, odd, prime, 64 Ki + 1} x lengths of a v-variant, every
// other row of which has displacements.
std::vector<TableRow> make_rows(const TableChoice& choice);
// How many rows the full table has for these memories and collectives, by arithmetic: the count that a run
// asserts.
uint64_t full_count(const TableChoice& choice);

// Text form of a choice, for a worker's command line, and back.
std::string encode_choice(const TableChoice& choice);
TableChoice decode_choice(const std::string& text);

}  // namespace comity::test
