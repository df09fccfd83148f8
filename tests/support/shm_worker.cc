// A rank that is a process, for shm_process_test: shm_worker MEETING RANK NRANKS SCENARIO.
#include <fmt/core.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

#include "src/base/berth.h"
#include "src/base/clock.h"
#include "tests/support/shm_calls.h"
#include "tests/support/shm_ranks.h"

namespace comity::test {
namespace {

constexpr uint32_t kMoving = 8;  // those that move bytes

BufferKind kind_of(uint64_t mix, uint32_t rank) {
  if (mix == 3) return rank % 2 == 0 ? BufferKind::kPlain : BufferKind::kRegistered;
  return static_cast<BufferKind>(mix);
}

// Random calls, the same on all ranks. 0: all right.
int collectives(ShmProcess& process, int calls) {
  GroupProvider* group = process.transport().group(first_ranks(process.nranks()));
  std::mt19937_64 random(11);
  for (int number = 0; number < calls; ++number) {
    Row row;
    row.collective = kGroupCollectives[random() % std::size(kGroupCollectives)];
    row.nranks = process.nranks();
    row.root = static_cast<uint32_t>(random() % row.nranks);
    const uint64_t scale = random() % 10;
    row.count = scale < 4 ? random() % 14 : scale < 8 ? random() % 20'000 : random() % 400'000;
    row.in_place = random() % 2 == 0;
    const CallBuffers buffers(row, process.rank(), kind_of(random() % 4, process.rank()));
    GroupCall call = buffers.call();
    call.signature = signature_of(row, static_cast<uint64_t>(number));
    const Progress end = run(*group, call);
    const std::string wrong =
        end == Progress::kDone ? buffers.check() : std::string(group->error().message());
    if (wrong.empty()) continue;
    fmt::print("call {} rank {} {}: {}\n", number, process.rank(), describe(row), wrong);
    return 1;
  }
  process.barrier();
  return 0;
}

// Ranks that sleep as soon as there is nothing to do: a wake-up that is lost shows as a sleep to its end. Of
// 200 calls 150 are reductions to one rank, in which the others run ahead until they have to wait for it.
int sleepers(ShmProcess& process) {
  GroupProvider* group = process.transport().group(first_ranks(process.nranks()));
  constexpr uint64_t kSleepNs = 2'000'000'000;
  const BerthLoan berth = borrow_berth();
  for (uint64_t number = 0; number < 3000; ++number) {
    uint64_t mine = number + process.rank();
    uint64_t sum = 0;
    Piece src{reinterpret_cast<std::byte*>(&mine), 8};
    Piece dst{reinterpret_cast<std::byte*>(&sum), 8};
    const uint64_t p = process.nranks();
    GroupCall call;
    call.collective = number % 200 < 150 ? Collective::kReduce : Collective::kAllReduce;
    call.root = static_cast<uint32_t>(number / 200 % p);
    const bool takes = call.collective == Collective::kAllReduce || call.root == process.rank();
    call.type = DataType::kUint64;
    call.signature = number;
    call.src = {&src, 1};
    if (takes) call.dst = {&dst, 1};
    group->start(call);
    Progress end = group->poll();
    while (is_unfinished(end)) {
      berth->open(number % 2 == 0);  // by turns as one of several transports, and alone
      process.transport().arm(*berth);
      end = group->poll();
      if (!is_unfinished(end)) {
        process.transport().disarm(*berth);
        berth->close();
        break;
      }
      const uint64_t before = now_ns();
      berth->sleep(kSleepNs);
      process.transport().disarm(*berth);
      berth->close();
      if (now_ns() - before >= kSleepNs) {
        fmt::print("rank {} slept through call {}\n", process.rank(), number);
        return 1;
      }
      end = group->poll();
    }
    if (end != Progress::kDone || (takes && sum != p * number + p * (p - 1) / 2)) {
      fmt::print("rank {} call {}: sum {}\n", process.rank(), number, sum);
      return 1;
    }
  }
  process.barrier();
  return 0;
}

// A rank announces another call than the others.
int mismatch(ShmProcess& process, uint64_t count) {
  GroupProvider* group = process.transport().group(first_ranks(process.nranks()));
  const Row row{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, process.nranks(), 0, count, false};
  const CallBuffers buffers(row, process.rank(), BufferKind::kRegistered);
  GroupCall call = buffers.call();
  call.signature = process.rank() == 0 ? 1 : 2;
  const Progress end = run(*group, call);
  if (end != Progress::kMismatch)
    fmt::print("rank {} ended with {}\n", process.rank(), static_cast<int>(end));
  process.barrier();
  return end == Progress::kMismatch ? 0 : 1;
}

// Calls without end, for a test that kills.
int forever(ShmProcess& process) {
  GroupProvider* group = process.transport().group(first_ranks(process.nranks()));
  const Row row{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, process.nranks(), 0, 100'000, true};
  const CallBuffers buffers(row, process.rank(), BufferKind::kRegistered);
  for (;;) {
    static_cast<void>(run(*group, buffers.call()));
    process.meeting().words[0].fetch_add(1);
  }
}

// Without this no process is kept from looking at another one of root's.
bool give_up_tracing() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  data[0].effective &= ~(1u << CAP_SYS_PTRACE);
  data[0].permitted &= ~(1u << CAP_SYS_PTRACE);
  return ::syscall(SYS_capset, &header, data) == 0;
}

// Ranks that the kernel lets into each other's memory, until rank 1, or every rank (`all`), may not be looked
// at any more: after two calls of another kind, and before the first that goes by the kernel's copies.
int privileges(ShmProcess& process, bool all, uint32_t kind) {
  if (!give_up_tracing()) return 2;
  process.barrier();
  GroupProvider* group = process.transport().group(first_ranks(process.nranks()));
  const auto row_of = [&](uint32_t which, uint64_t count) {
    return Row{kGroupCollectives[which % kMoving],
               DataType::kFloat32,
               RedOp::kSum,
               process.nranks(),
               1,
               count,
               which >= kMoving};
  };
  uint64_t number = 0;
  const auto wrong_calls = [&](const Row& row, int calls) {
    for (int i = 0; i < calls; ++i) {
      const CallBuffers buffers(row, process.rank(), BufferKind::kPlain);
      GroupCall call = buffers.call();
      call.signature = signature_of(row, ++number);
      const Progress end = run(*group, call);
      const std::string wrong =
          end == Progress::kDone ? buffers.check() : std::string(group->error().message());
      if (wrong.empty()) continue;
      fmt::print("call {} rank {} {}: {}\n", number, process.rank(), describe(row), wrong);
      return true;
    }
    return false;
  };
  if (wrong_calls(row_of(kind + 1, 1'000'000), 2)) return 1;
  process.barrier();
  if (all || process.rank() == 1) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  process.barrier();
  if (wrong_calls(row_of(kind, 700'001), 8) || wrong_calls(row_of(kind + 2, 300'000), 8)) return 1;
  process.barrier();
  return 0;
}

int scenario(ShmProcess& process, std::string_view name) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int kCalls = 60;
#else
  constexpr int kCalls = 400;
#endif
  if (name == "collectives") return collectives(process, kCalls);
  if (name == "sleepers") return sleepers(process);
  if (name == "mismatch_small") return mismatch(process, 2);
  if (name == "mismatch_large") return mismatch(process, 300'000);
  if (name == "forever") return forever(process);
  for (const std::string_view some : {"private", "all_private"}) {
    if (!name.starts_with(some)) continue;
    const int kind = std::atoi(std::string(name.substr(some.size())).c_str());
    return privileges(process, some == "all_private", static_cast<uint32_t>(kind));
  }
  fmt::print("no scenario {}\n", name);
  return 2;
}

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  comity::shm::ShmOptions options;
  options.cross_memory = std::string_view(argv[5]) == "cross";
  if (options.cross_memory) options.cores = 64;  // the kernel's copies are not for ranks that share cores
  comity::test::ShmProcess process(argv[1], static_cast<uint32_t>(std::atoi(argv[2])),
                                   static_cast<uint32_t>(std::atoi(argv[3])), options);
  return comity::test::scenario(process, argv[4]);
}
