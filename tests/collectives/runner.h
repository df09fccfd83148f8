// One rank's walk over the table's rows, through the C API.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/comity.h"
#include "tests/collectives/table.h"

namespace comity::test {

struct Report {
  uint64_t rows = 0;
  uint64_t wrong_rows = 0;
  std::string first_wrong;  // the row, the rank, the first wrong element; or the error
};

// Runs every row on `comm` as `rank`; stops at an error, goes on after a wrong result. Buffers carry guard
// bytes, which are part of what is checked. `tamper` (0: never) spoils the result of that row before it is
// checked: a wrong kernel. `devices`: as TableChoice's.
Report run_rows(comityComm_t comm, uint32_t rank, const std::vector<TableRow>& rows, uint64_t tamper = 0,
                const std::vector<std::string>& devices = {"sim"});

}  // namespace comity::test
