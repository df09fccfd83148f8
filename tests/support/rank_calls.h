// Calls of a rank that is driven by lines: on the communicator that it joined and on those split from it.
// Every call has content of its own, which is checked: nothing lost, doubled or mixed up goes unseen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comity/comity.h"

namespace comity::test {

// Communicators have numbers, from 0, the one that was joined. Each command is a line, and so is its answer:
//   call C NAME COUNT ROOT      all_reduce, reduce, broadcast, gather, scatter, all_to_all or barrier of
//                               COUNT int64; "right", "wrong AT" or "failed TEXT"
//   exchange C s1:COUNT r0:...  Sends to and Recvs from the ranks named, in one group if they are several; as
//                               above
//   split C COLOR KEY           "ok NUMBER RANK SIZE", "ok none" or "failed TEXT"
//   finalize C, destroy C, abort C   "ok" or "failed TEXT"
class RankCalls {
 public:
  explicit RankCalls(comityComm_t joined) { add(joined); }
  // Nothing if the line is none of these.
  std::optional<std::string> answer(const std::string& line);

 private:
  struct Member {
    comityComm_t comm = nullptr;
    int rank = 0;
    int size = 0;
    int64_t calls = 0;
    std::map<std::pair<int, bool>, int64_t> messages;  // by peer, and whether this rank sent them
  };

  size_t add(comityComm_t comm);
  std::string call(Member& member, const std::string& name, size_t count, int root);
  std::string exchange(Member& member, const std::vector<std::string>& messages);
  std::string split(Member& member, int color, int key);

  std::vector<Member> members_;
};

}  // namespace comity::test
