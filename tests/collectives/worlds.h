// The table over all ranks of a world, which are threads or processes.
#pragma once

#include <string>
#include <vector>

#include "tests/collectives/runner.h"

namespace comity::test {

// Every row was run, and none is wrong.
void expect_report(const Report& report, const TableChoice& choice, uint64_t rows);
// Ranks as threads, of one comityCommInitAll.
std::vector<Report> run_threads(const TableChoice& choice, uint64_t tamper = 0);
// Ranks as processes; rank r is on the host that hosts[r] names ("" is this one). Expects every report.
void run_processes(const TableChoice& choice, const std::vector<std::string>& hosts);

}  // namespace comity::test
