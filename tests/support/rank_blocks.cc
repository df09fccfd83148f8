#include "tests/support/rank_blocks.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "src/device/host/arena.h"

namespace comity::test {
namespace {

constexpr size_t kBlockBytes = 4'000'000;  // below what is touched when it is allocated
constexpr size_t kCount = 20'000;          // summed of each: addressed directly

}  // namespace

bool RankBlocks::allocate(size_t arenas) {
  std::set<uint32_t> seen;
  while (seen.size() < arenas) {
    void* block = nullptr;
    if (comityMemAlloc(&block, kBlockBytes) != comitySuccess) return false;
    all_.push_back(block);
    const auto handle = RegionTable::instance().handle_of(block, kBlockBytes);
    if (handle.has_value() && seen.insert(handle->arena).second)
      one_each_.push_back(static_cast<int64_t*>(block));
  }
  return true;
}

std::string RankBlocks::sum(comityComm_t comm) const {
  int nranks = 0;
  static_cast<void>(comityCommCount(comm, &nranks));
  for (int64_t* block : one_each_) {
    std::fill_n(block, kCount, int64_t{3});
    if (comityAllReduce(block, block, kCount, comityInt64, comitySum, comm, nullptr) != comitySuccess)
      return std::string("failed ") + comityGetLastError(comm);
    if (std::count(block, block + kCount, int64_t{3} * nranks) != static_cast<ptrdiff_t>(kCount))
      return "wrong";
  }
  return "right";
}

void RankBlocks::release() {
  for (void* block : all_) static_cast<void>(comityMemFree(block));
  all_.clear();
  one_each_.clear();
}

size_t mapped_arenas() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("comity-arena") != std::string::npos ? 1 : 0;
  return count;
}

}  // namespace comity::test
