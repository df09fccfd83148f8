// A rank as a daemon: descriptors 0, 1 and 2 are closed before Comity is touched, and another thread prints
// all the time. closed_stdio_worker RANK NRANKS ID_HEX. Says "right", or what was wrong, on the standard
// output it began with.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/api/id_file.h"

namespace {

constexpr size_t kCount = 300'000;
constexpr int kRounds = 60;
constexpr char kNoise[] = "what a daemon prints, and nobody is to see\n";

int report = -1;

[[noreturn]] void end(int status, const std::string& why) {
  const std::string line = why + "\n";
  (void)!::write(report, line.data(), line.size());
  std::_Exit(status);
}

void must(comityResult_t result, const char* what) {
  if (result != comitySuccess) end(1, fmt::format("{}: {}", what, comityGetLastError(nullptr)));
}

// None of the three is there: nothing of Comity's, nor of anybody else's.
void must_be_closed(const char* when) {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) continue;
    char target[256] = {};
    (void)!::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), target, sizeof target - 1);
    end(1, fmt::format("{}: descriptor {} is {}", when, fd, target));
  }
}

void collectives(comityComm_t comm, int rank, int nranks) {
  void* shared = nullptr;
  must(comityMemAlloc(&shared, kCount * sizeof(int)), "comityMemAlloc");
  std::vector<int> plain(kCount);
  for (int round = 0; round < kRounds; ++round) {
    int* buffer = round % 2 == 0 ? static_cast<int*>(shared) : plain.data();
    for (size_t i = 0; i < kCount; ++i) buffer[i] = rank + round + static_cast<int>(i);
    must(comityAllReduce(buffer, buffer, kCount, comityInt32, comitySum, comm, nullptr), "comityAllReduce");
    const int ranks = nranks * (nranks - 1) / 2;
    for (size_t i = 0; i < kCount; ++i) {
      if (buffer[i] != ranks + nranks * (round + static_cast<int>(i)))
        end(1, fmt::format("round {}: element {} is {}", round, i, buffer[i]));
    }
    must_be_closed("between calls");
  }
  must(comityMemFree(shared), "comityMemFree");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  report = ::fcntl(1, F_DUPFD_CLOEXEC, 10);
  for (int fd = 0; fd <= 2; ++fd) ::close(fd);
  const int rank = std::atoi(argv[1]), nranks = std::atoi(argv[2]);
  const auto id = comity::api::id_from_hex(argv[3]);
  if (!id.ok()) end(2, "no id");

  comityUniqueId unused;  // a meeting point of this process
  must(comityGetUniqueId(&unused), "comityGetUniqueId");
  comityComm_t comm = nullptr;
  must(comityCommInitRank(&comm, nranks, *id, rank), "comityCommInitRank");
  must_be_closed("after comityCommInitRank");
  std::atomic<bool> done{false};
  std::thread printer([&] {
    while (!done) {
      for (int fd = 1; fd <= 2; ++fd) (void)!::write(fd, kNoise, sizeof kNoise - 1);
    }
  });
  collectives(comm, rank, nranks);
  done = true;
  printer.join();
  must(comityCommDestroy(comm), "comityCommDestroy");
  must_be_closed("after comityCommDestroy");
  end(0, "right");
}
