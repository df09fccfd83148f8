// One rank that makes a communicator: init_worker RANK NRANKS ID_FILE [TROUBLE]
//
// Rank 0 leaves the id in the file. Says "init ok" once a first barrier succeeded, else "init " and the
// sentence, and destroys. TROUBLE, a seccomp filter laid over the process before it begins:
//   no-threads   no thread can be started
//   no-memfd     no memory file can be made
//   late         begins only when rank 0 is through with its own, and about to exit
//   aborts       is ranks 0 and 1 of three, does not block, and aborts one, then the other, which has heard
// With "count-boards" for TROUBLE it also says how many regions with boards it maps: "init ok, N regions".
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "comity/comity.h"
#include "src/api/id_file.h"
#include "src/base/clock.h"

namespace {

bool refuse(const std::vector<unsigned>& calls, unsigned error) {
  std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const unsigned call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool make_trouble(const std::string& trouble) {
  if (trouble == "no-threads") return refuse({__NR_clone, __NR_clone3}, EAGAIN);
  if (trouble == "no-memfd") return refuse({__NR_memfd_create}, EPERM);
  return trouble.empty() || trouble == "count-boards" || trouble == "late" || trouble == "aborts";
}

// Mappings of memory through which ranks speak to each other.
int count_boards() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("memfd:comity-board") != std::string::npos;
  return count;
}

std::string sign_of_rank_0(const std::string& path) {
  return path + ".over";
}

bool await_rank_0(const std::string& path) {
  const auto deadline = comity::Deadline::after_ms(60'000);
  while (!std::ifstream(sign_of_rank_0(path)).good()) {
    if (deadline.passed()) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

comityUniqueId meet(int rank, const std::string& path) {
  comityUniqueId id{};
  if (rank != 0) {
    const auto found = comity::api::await_id_file(path);
    if (found.ok()) id = *found;
  } else if (comityGetUniqueId(&id) == comitySuccess) {
    (void)comity::api::write_id_file(path, id).ok();
  }
  return id;
}

int abort_while_it_joins(const comityUniqueId& id) {
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.blocking = 0;
  comityComm_t comms[2] = {};
  for (int rank = 0; rank < 2; ++rank) {
    if (comityCommInitRankConfig(&comms[rank], 3, id, rank, &config) != comityInProgress) return 2;
  }
  if (comityCommAbort(comms[0]) != comitySuccess) return 2;
  comityResult_t heard = comityInProgress;
  while (heard == comityInProgress && comityCommGetAsyncError(comms[1], &heard) == comitySuccess)
    ::poll(nullptr, 0, 1);
  std::printf("init %s\n", comityGetLastError(comms[1]));
  return comityCommAbort(comms[1]) == comitySuccess ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || !make_trouble(argc > 4 ? argv[4] : "")) return 2;
  const int rank = std::atoi(argv[1]);
  if (argc > 4 && std::string(argv[4]) == "late" && !await_rank_0(argv[3])) return 2;
  if (argc > 4 && std::string(argv[4]) == "aborts") return abort_while_it_joins(meet(rank, argv[3]));
  comityComm_t comm = nullptr;
  const comityResult_t made = comityCommInitRank(&comm, std::atoi(argv[2]), meet(rank, argv[3]), rank);
  // Twice: whoever is through with the first may not leave while others still wait in it.
  const bool met = made == comitySuccess && comityBarrier(comm, nullptr) == comitySuccess &&
                   comityBarrier(comm, nullptr) == comitySuccess;
  std::string said = met ? "ok" : comityGetLastError(comm);
  if (argc > 4 && std::string(argv[4]) == "count-boards")
    said += ", " + std::to_string(count_boards()) + " regions";
  if (comm != nullptr) (void)comityCommDestroy(comm);
  std::printf("init %s\n", said.c_str());
  if (rank == 0) std::ofstream(sign_of_rank_0(argv[3]));
  return met ? 0 : 1;
}
