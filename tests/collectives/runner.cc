#include "tests/collectives/runner.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "comity/comity.h"

namespace comity::test {
namespace {

constexpr uint64_t kGuard = 64;
constexpr std::byte kGuardByte{0xa5};

constexpr const char* kMalloc = "malloc";
constexpr const char* kMemAlloc = "memalloc";

// Memory of one kind, one of these or a device's name, that grows and is kept, filled and read through host
// mirrors.
class Store {
 public:
  explicit Store(std::string kind) : kind_(std::move(kind)) {}
  ~Store() { drop(); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  std::byte* get(uint64_t bytes) {
    if (bytes <= bytes_) return data_;
    drop();
    bytes_ = bytes + bytes / 2;
    void* memory = nullptr;
    if (kind_ == kMalloc) {
      memory = std::aligned_alloc(64, (bytes_ + 63) / 64 * 64);
    } else if (kind_ == kMemAlloc) {
      static_cast<void>(comityMemAlloc(&memory, bytes_));
    } else {
      static_cast<void>(comityMemAllocOn(&memory, bytes_, kind_.c_str()));
    }
    data_ = static_cast<std::byte*>(memory);
    return data_;
  }

  static void write(std::byte* to, const std::vector<std::byte>& from) {
    static_cast<void>(comityMemCopy(to, from.data(), from.size()));
  }
  static void read(std::vector<std::byte>& to, const std::byte* from) {
    static_cast<void>(comityMemCopy(to.data(), from, to.size()));
  }

 private:
  void drop() {
    if (kind_ == kMalloc)
      std::free(data_);
    else
      static_cast<void>(comityMemFree(data_));
    data_ = nullptr;
    bytes_ = 0;
  }

  const std::string kind_;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

// One side's counts and displacements.
struct Blocks {
  std::vector<size_t> counts, displs;
  bool gaps;
  const size_t* places() const { return gaps ? displs.data() : nullptr; }
};

Blocks blocks_of(const Row& row, const std::vector<Run>& runs) {
  Blocks blocks{{}, {}, row.gaps};
  for (const Run& run : runs) {
    blocks.counts.push_back(run.count);
    blocks.displs.push_back(run.offset);
  }
  return blocks;
}

// What a rank calls with.
struct Given {
  const Row& row;
  uint32_t rank;
  const void* in;
  void* out;
  comityRedOp_t op;
  comityComm_t comm;
};

comityResult_t call_varying(const Given& given, const Blocks& from, const Blocks& to) {
  const Row& row = given.row;
  const auto type = static_cast<comityDataType_t>(row.type);
  const int root = static_cast<int>(row.root);
  const bool is_root = row.root == given.rank;  // the others' tables are not read
  switch (row.collective) {
    case Collective::kAllGatherV:
      return comityAllGatherV(given.in, given.out, to.counts.data(), to.places(), type, given.comm, nullptr);
    case Collective::kReduceScatterV:
      return comityReduceScatterV(given.in, given.out, from.counts.data(), from.places(), type, given.op,
                                  given.comm, nullptr);
    case Collective::kAllToAllV:
      return comityAlltoAllV(given.in, from.counts.data(), from.places(), given.out, to.counts.data(),
                             to.places(), type, given.comm, nullptr);
    case Collective::kGatherV:
      return comityGatherV(given.in, from.counts[0], given.out, is_root ? to.counts.data() : nullptr,
                           is_root ? to.places() : nullptr, type, root, given.comm, nullptr);
    case Collective::kScatterV:
      return comityScatterV(given.in, is_root ? from.counts.data() : nullptr,
                            is_root ? from.places() : nullptr, given.out, to.counts[0], type, root,
                            given.comm, nullptr);
    default:
      break;
  }
  return comityInternalError;
}

// To the rank above and from the rank below.
comityResult_t call_ring(const Given& given) {
  const Row& row = given.row;
  const auto type = static_cast<comityDataType_t>(row.type);
  const auto above = static_cast<int>((given.rank + 1) % row.nranks);
  const auto below = static_cast<int>((given.rank + row.nranks - 1) % row.nranks);
  comityResult_t first = comityGroupStart();
  for (const comityResult_t each :
       {comitySend(given.in, row.count, type, above, given.comm, nullptr),
        comityRecv(given.out, row.count, type, below, given.comm, nullptr), comityGroupEnd()}) {
    if (first == comitySuccess) first = each;
  }
  return first;
}

comityResult_t call(const Given& given) {
  const auto& [row, rank, in, out, op, comm] = given;
  const auto type = static_cast<comityDataType_t>(row.type);
  const int root = static_cast<int>(row.root);
  switch (row.collective) {
    case Collective::kAllReduce:
      return comityAllReduce(in, out, row.count, type, op, comm, nullptr);
    case Collective::kReduce:
      return comityReduce(in, out, row.count, type, op, root, comm, nullptr);
    case Collective::kBroadcast:
      return comityBroadcast(in, out, row.count, type, root, comm, nullptr);
    case Collective::kAllGather:
      return comityAllGather(in, out, row.count, type, comm, nullptr);
    case Collective::kReduceScatter:
      return comityReduceScatter(in, out, row.count, type, op, comm, nullptr);
    case Collective::kBarrier:
      return comityBarrier(comm, nullptr);
    case Collective::kAllToAll:
      return comityAlltoAll(in, out, row.count, type, comm, nullptr);
    case Collective::kGather:
      return comityGather(in, out, row.count, type, root, comm, nullptr);
    case Collective::kScatter:
      return comityScatter(in, out, row.count, type, root, comm, nullptr);
    case Collective::kExchange:
      return call_ring(given);
    default:
      return call_varying(given, blocks_of(row, input_runs(row, rank)),
                          blocks_of(row, output_runs(row, rank)));
  }
}

class Walker {
 public:
  Walker(comityComm_t comm, uint32_t rank, const std::vector<std::string>& devices)
      : comm_(comm), rank_(rank) {
    const std::string& device = devices[rank % devices.size()];
    const size_t between = device.find('>');
    input_device_ = device.substr(0, between);
    output_device_ = between == std::string::npos ? device : device.substr(between + 1);
  }

  // "" if all is well.
  std::string step(const TableRow& table_row, bool tamper) {
    const Row& row = table_row.row;
    const size_t size = size_of(row.type);
    const uint64_t in_bytes = extent_of(input_runs(row, rank_)) * size;
    const uint64_t out_bytes = extent_of(output_runs(row, rank_)) * size;
    const uint64_t room = (std::max(in_bytes, out_bytes) + 2 * kGuard + 63) / 64 * 64;
    std::byte* const base = store(table_row.memory, false).get(2 * room);
    std::byte* const input = row.in_place ? base : store(table_row.memory, true).get(room);
    if (base == nullptr || input == nullptr) return "no memory: " + std::string(comityGetLastError(nullptr));
    std::byte* in = input + kGuard;
    std::byte* out = row.in_place ? in : base + room + kGuard;
    if (row.in_place && has_output_blocks(row.collective))
      in = out + own_block(row, output_runs(row, rank_)) * size;
    if (row.in_place && has_input_blocks(row.collective))
      out = in + own_block(row, input_runs(row, rank_)) * size;
    fill_for(row, in_bytes, out_bytes);
    prepare(row, in, out, in_bytes, out_bytes);
    const comityResult_t result = make_call(table_row, in, out);
    if (result != comitySuccess) {
      failed_ = true;
      return fmt::format("{}: {}", comityGetErrorString(result), comityGetLastError(comm_));
    }
    if (!has_output(row, rank_)) return "";
    return check(row, out, out_bytes, tamper);
  }
  bool failed() const { return failed_; }

 private:
  Store& store(Memory memory, bool of_input) {
    const std::string& kind = memory == Memory::kMalloc     ? kMalloc
                              : memory == Memory::kMemAlloc ? kMemAlloc
                              : of_input                    ? input_device_
                                                            : output_device_;
    return stores_.try_emplace(kind, kind).first->second;
  }

  uint64_t own_block(const Row& row, const std::vector<Run>& runs) const {
    return is_varying(row.collective) ? runs[rank_].offset : rank_ * row.count;
  }

  comityResult_t make_call(const TableRow& table_row, const std::byte* in, std::byte* out) {
    const Row& row = table_row.row;
    if (row.op != kPreMulSum) return call({row, rank_, in, out, static_cast<comityRedOp_t>(row.op), comm_});
    scratch_.resize(size_of(row.type));
    const uint64_t bits = encode(row.type, scalar_of(row, rank_));
    std::memcpy(scratch_.data(), &bits, scratch_.size());
    const bool with_buffers = table_row.scalar == ScalarAt::kAsMemory;
    const bool far =
        with_buffers ? table_row.memory == Memory::kDevice : table_row.scalar == ScalarAt::kSimDevice;
    const bool later = far || table_row.scalar == ScalarAt::kHost;
    const std::string far_kind = with_buffers ? output_device_ : "sim";
    std::byte* scalar =
        far ? scalars_.try_emplace(far_kind, far_kind).first->second.get(sizeof bits) : scratch_.data();
    if (scalar == nullptr) return comitySystemError;
    if (far) Store::write(scalar, scratch_);
    comityRedOp_t op{};
    comityResult_t result =
        comityRedOpCreatePreMulSum(&op, scalar, static_cast<comityDataType_t>(row.type),
                                   later ? comityScalarDevice : comityScalarHostImmediate, comm_);
    if (result != comitySuccess) return result;
    if (!later) std::fill(scratch_.begin(), scratch_.end(), kGuardByte);  // it was read
    result = call({row, rank_, in, out, op, comm_});
    const comityResult_t destroyed = comityRedOpDestroy(op, comm_);
    return result == comitySuccess ? destroyed : result;
  }

  // Rows that differ in place and memory alone, which follow one another, have the same input and output.
  void fill_for(Row row, uint64_t in_bytes, uint64_t out_bytes) {
    row.in_place = false;
    if (filled_ == row) return;
    input_.resize(in_bytes);
    fill_input(row, rank_, input_.data());
    want_.assign(out_bytes, kGuardByte);  // in the gaps
    if (has_output(row, rank_)) fill_expected(row, rank_, want_.data());
    filled_ = row;
  }

  void prepare(const Row& row, std::byte* in, std::byte* out, uint64_t in_bytes, uint64_t out_bytes) {
    scratch_.assign(out_bytes + 2 * kGuard, kGuardByte);
    if (!row.in_place || has_output_blocks(row.collective)) Store::write(out - kGuard, scratch_);
    if (row.in_place && !has_output_blocks(row.collective)) {
      scratch_.assign(in_bytes + 2 * kGuard, kGuardByte);
      Store::write(in - kGuard, scratch_);
    }
    Store::write(in, input_);
  }

  std::string check(const Row& row, const std::byte* out, uint64_t out_bytes, bool tamper) {
    // In place reduce_scatter and scatter write the middle of their input: its neighbours are not guards.
    const bool guarded = !(row.in_place && has_input_blocks(row.collective));
    const uint64_t guard = guarded ? kGuard : 0;
    scratch_.resize(out_bytes + 2 * guard);
    Store::read(scratch_, out - guard);
    if (tamper && out_bytes > 0) scratch_[guard] ^= std::byte{1};
    for (uint64_t i = 0; i < guard; ++i) {
      if (scratch_[i] != kGuardByte || scratch_[guard + out_bytes + i] != kGuardByte)
        return "wrote outside the output buffer";
    }
    if (out_bytes == 0 || std::memcmp(scratch_.data() + guard, want_.data(), out_bytes) == 0) return "";
    uint64_t at = 0;
    while (scratch_[guard + at] == want_[at]) ++at;
    return fmt::format("element {} is wrong (first differing byte {:#x}, want {:#x})", at / size_of(row.type),
                       static_cast<unsigned>(scratch_[guard + at]), static_cast<unsigned>(want_[at]));
  }

  comityComm_t comm_;
  uint32_t rank_;
  bool failed_ = false;
  std::string input_device_, output_device_;
  std::map<std::string, Store> stores_;  // by kind
  std::map<std::string, Store> scalars_;
  std::vector<std::byte> scratch_;
  std::optional<Row> filled_;  // the row that these are of, out of place
  std::vector<std::byte> input_, want_;
};

}  // namespace

Report run_rows(comityComm_t comm, uint32_t rank, const std::vector<TableRow>& rows, uint64_t tamper,
                const std::vector<std::string>& devices) {
  Report report;
  Walker walker(comm, rank, devices);
  for (const TableRow& row : rows) {
    ++report.rows;
    const std::string wrong = walker.step(row, report.rows == tamper);
    if (wrong.empty()) continue;
    ++report.wrong_rows;
    if (report.first_wrong.empty())
      report.first_wrong = fmt::format("row {} ({}), rank {}: {}", report.rows, describe(row), rank, wrong);
    if (walker.failed()) break;
  }
  return report;
}

}  // namespace comity::test
