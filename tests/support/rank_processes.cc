#include "tests/support/rank_processes.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "comity/comity.h"
#include "src/base/clock.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {
namespace {

constexpr uint64_t kLongMs = 60'000;

bool is_in(const std::vector<size_t>& set, size_t rank) {
  return std::find(set.begin(), set.end(), rank) != set.end();
}

// Of a process's first thread: the system call that it is blocked in, -1 if it runs or is gone.
long blocked_in(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/syscall", pid));
  long number = -1;
  return file >> number ? number : -1;
}

template <typename Condition>
bool holds_in_time(Condition condition) {
  const Deadline deadline = Deadline::after_ms(kLongMs);
  while (!condition()) {
    if (deadline.passed()) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

RankProcesses::RankProcesses(const std::vector<std::string>& hosts) {
  comityUniqueId id;
  EXPECT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  const std::string hex = hex_of(id);
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    std::vector<std::string> command;
    if (!hosts[rank].empty()) command = {"/usr/bin/env", "COMITY_HOSTID=" + hosts[rank]};
    for (const std::string& word :
         {program_folder() + "rank_worker", hex, std::to_string(rank), std::to_string(hosts.size())})
      command.push_back(word);
    ranks_.push_back(std::make_unique<control::testing::ControlProcess>(command));
  }
  for (size_t rank = 0; rank < size(); ++rank) EXPECT_EQ(ranks_[rank]->hear(kLongMs), "joined") << rank;
}

void RankProcesses::tell_all(const std::string& command, const std::vector<size_t>& but) {
  for (size_t rank = 0; rank < size(); ++rank) {
    if (!is_in(but, rank)) ranks_[rank]->tell(command);
  }
}

std::vector<std::string> RankProcesses::hear_all(const std::vector<size_t>& but) {
  std::vector<std::string> answers(size());
  for (size_t rank = 0; rank < size(); ++rank) {
    if (!is_in(but, rank)) answers[rank] = ranks_[rank]->hear(kLongMs);
  }
  return answers;
}

void RankProcesses::expect_all(const std::string& command, const std::string& begin,
                               const std::vector<size_t>& but) {
  tell_all(command, but);
  const auto answers = hear_all(but);
  for (size_t rank = 0; rank < size(); ++rank) {
    if (!is_in(but, rank)) {
      EXPECT_EQ(answers[rank].substr(0, begin.size()), begin)
          << "rank " << rank << ", " << command << ": " << answers[rank];
    }
  }
}

std::string RankProcesses::expect_one_sentence(const std::string& command, std::vector<std::string> answers,
                                               const std::vector<size_t>& gone) {
  const auto failed = [](const std::string& answer) { return answer.rfind("failed ", 0) == 0; };
  std::vector<size_t> asked = gone;
  for (size_t rank = 0; rank < size(); ++rank) {
    if (failed(answers[rank])) asked.push_back(rank);
  }
  tell_all(command, asked);
  const auto heard = hear_all(asked);
  std::string sentence;
  for (size_t rank = 0; rank < size(); ++rank) {
    if (is_in(gone, rank)) continue;
    if (!is_in(asked, rank)) answers[rank] = heard[rank];
    EXPECT_TRUE(failed(answers[rank])) << "rank " << rank << ": " << answers[rank];
    std::string its = answers[rank].substr(std::min(answers[rank].size(), sizeof "failed " - 1));
    while (its.rfind("comity", 0) == 0 && its.find(": ") != std::string::npos)
      its = its.substr(its.find(": ") + 2);
    if (sentence.empty()) sentence = its;
    EXPECT_EQ(its, sentence) << "rank " << rank;
  }
  return sentence;
}

bool RankProcesses::comes_to_rest(size_t rank) {
  return holds_in_time([&] { return blocked_in(ranks_[rank]->pid()) >= 0; });
}

bool RankProcesses::sleeps_in_a_call(size_t rank) {
  return holds_in_time([&] {
    const long number = blocked_in(ranks_[rank]->pid());
    return number > 0 && number != SYS_read && number != SYS_write;
  });
}

std::vector<std::string> hosts_of(const std::string& letters) {
  std::vector<std::string> hosts;
  for (const char letter : letters)
    hosts.push_back(letter == '.' ? std::string() : std::string("host-") + letter);
  return hosts;
}

}  // namespace comity::test
