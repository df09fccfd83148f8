// The ranks of one communicator as processes (rank_worker), driven by lines from a test that is none of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/control_process.h"

namespace comity::test {

class RankProcesses {
 public:
  // A rank for each name of a host: "" is this machine, others are told apart as hosts by their names. Joined
  // when this returns; a test failure if not.
  explicit RankProcesses(const std::vector<std::string>& hosts);
  size_t size() const { return ranks_.size(); }
  control::testing::ControlProcess& operator[](size_t rank) { return *ranks_[rank]; }

  void tell_all(const std::string& command, const std::vector<size_t>& but = {});
  // By rank; "" of those left out. Within 60 s each, far more than anything takes.
  std::vector<std::string> hear_all(const std::vector<size_t>& but = {});
  // Both; a test failure where an answer does not begin so.
  void expect_all(const std::string& command, const std::string& begin, const std::vector<size_t>& but = {});
  // Every rank but `gone` fails `command`, if it has not failed before: one sentence on all, returned without
  // the names of calls before it. `answers`: theirs to a call before, "" if there was none.
  std::string expect_one_sentence(const std::string& command, std::vector<std::string> answers,
                                  const std::vector<size_t>& gone);
  // Waits until the rank's calling thread is asleep in a call, or waits for its next line. False if it is
  // neither for 60 s.
  bool comes_to_rest(size_t rank);
  // Waits until it is asleep in a call.
  bool sleeps_in_a_call(size_t rank);

 private:
  std::vector<std::unique_ptr<control::testing::ControlProcess>> ranks_;
};

// "aab" is three ranks on two hosts, "..." three on this machine.
std::vector<std::string> hosts_of(const std::string& letters);

}  // namespace comity::test
