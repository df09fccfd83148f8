#include "tests/collectives/worlds.h"

#include <gtest/gtest.h>

#include <sstream>
#include <thread>

#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {

void expect_report(const Report& report, const TableChoice& choice, uint64_t rows) {
  EXPECT_EQ(report.rows, rows) << report.first_wrong;
  EXPECT_EQ(report.wrong_rows, 0u) << report.first_wrong;
  if (!choice.pairwise) {
    EXPECT_EQ(report.rows, full_count(choice));
  }
}

std::vector<Report> run_threads(const TableChoice& choice, uint64_t tamper) {
  const auto rows = make_rows(choice);
  std::vector<comityComm_t> comms(choice.nranks);
  EXPECT_EQ(comityCommInitAll(comms.data(), static_cast<int>(choice.nranks), nullptr), comitySuccess)
      << comityGetLastError(nullptr);
  std::vector<Report> reports(choice.nranks);
  if (testing::Test::HasFailure()) return reports;
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < choice.nranks; ++r) {
    threads.emplace_back([&, r] { reports[r] = run_rows(comms[r], r, rows, tamper, choice.devices); });
  }
  for (auto& thread : threads) thread.join();
  for (comityComm_t comm : comms)
    EXPECT_EQ(comityCommDestroy(comm), comitySuccess) << comityGetLastError(nullptr);
  return reports;
}

void run_processes(const TableChoice& choice, const std::vector<std::string>& hosts) {
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  const std::string hex = hex_of(id);
  std::vector<Child> children;
  for (uint32_t r = 0; r < choice.nranks; ++r) {
    const std::vector<std::string> command = {program_folder() + "comity_collectives_worker",
                                              std::to_string(r), hex, encode_choice(choice)};
    children.emplace_back(command,
                          std::vector<std::pair<std::string, std::string>>{{"COMITY_HOSTID", hosts[r]}});
  }
  const Deadline deadline = Deadline::after_ms(1'500'000);
  for (Child& child : children) {
    const auto [status, output] = child.finish(deadline);
    EXPECT_EQ(status, 0) << output;
    std::istringstream in(output);
    Report report;
    in >> report.rows >> report.wrong_rows;
    report.first_wrong = output;
    expect_report(report, choice, make_rows(choice).size());
  }
}

}  // namespace comity::test
