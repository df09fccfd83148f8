// Ranks of the shared-memory transport, without a control plane: as threads of this process, or as processes
// that meet in a block of shared memory and pass descriptors over a socket of their own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comity/plugin/transport.h"
#include "src/base/unique_fd.h"
#include "transports/shm/shm_transport.h"

namespace comity::test {

inline constexpr uint32_t kMostShmRanks = 64;

// Transports of p ranks in this process, all reached. Their order is the rank.
std::vector<std::unique_ptr<Transport>> make_shm_threads(uint32_t nranks,
                                                         const shm::ShmOptions& options = {});

// The members 0 .. n-1.
std::vector<uint32_t> first_ranks(uint32_t n);

// Shared by the processes of one job: addresses, a barrier, and words for whatever a test needs.
struct Meeting {
  struct Slot {
    std::atomic<uint32_t> bytes;  // of the address; 0: not there yet
    std::byte address[4096];
  };
  Slot slots[kMostShmRanks];
  std::atomic<uint64_t> arrived;
  std::atomic<uint64_t> words[64];
};

// Makes the meeting's memory; a job's processes find it by path() as long as this lives.
class MeetingPlace {
 public:
  MeetingPlace();
  std::string path() const;
  Meeting& meeting() const { return *meeting_; }

 private:
  UniqueFd fd_;
  Meeting* meeting_;
};

// One rank that is a process: serves its descriptors from a thread until its end.
class ShmProcess {
 public:
  // Meets the others of the job and reaches them all. Stops the process with a message where it cannot.
  ShmProcess(const std::string& meeting_path, uint32_t rank, uint32_t nranks,
             const shm::ShmOptions& options = {});
  ~ShmProcess();
  ShmProcess(const ShmProcess&) = delete;
  ShmProcess& operator=(const ShmProcess&) = delete;

  Transport& transport() { return *transport_; }
  Meeting& meeting() { return *meeting_; }
  uint32_t rank() const { return rank_; }
  uint32_t nranks() const { return nranks_; }
  // Waits until all ranks of the job came here.
  void barrier();

 private:
  void serve();

  uint32_t rank_;
  uint32_t nranks_;
  Meeting* meeting_;
  std::unique_ptr<DescriptorSource> descriptors_;
  UniqueFd listener_;
  std::thread server_;
  std::unique_ptr<Transport> transport_;
  uint64_t barriers_ = 0;
};

// Polls a provider until its call ended, giving the core away while it waits. After `patience_s` it stops the
// process.
Progress finish(GroupProvider& provider, uint64_t patience_s = 60);
// start() and finish().
Progress run(GroupProvider& provider, const GroupCall& call);

}  // namespace comity::test
