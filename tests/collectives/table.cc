#include "tests/collectives/table.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <sstream>

namespace comity::test {
namespace {

std::vector<uint64_t> sizes(uint32_t nranks) {
  // 0, 1, below p, odd, prime, 64 Ki + 1.
  return {0, 1, nranks > 1 ? nranks - 1 : 2, 255, 1009, 65537};
}

std::vector<Collective> collectives_of(const TableChoice& choice) {
  if (!choice.collectives.empty()) return choice.collectives;
  return {Collective::kAllReduce,  Collective::kReduce,         Collective::kBroadcast,
          Collective::kAllGather,  Collective::kReduceScatter,  Collective::kBarrier,
          Collective::kAllToAll,   Collective::kGather,         Collective::kScatter,
          Collective::kAllGatherV, Collective::kReduceScatterV, Collective::kAllToAllV,
          Collective::kGatherV,    Collective::kScatterV,       Collective::kExchange};
}

bool has_in_place(Collective collective) {
  return planned_as(collective) != Collective::kAllToAll && collective != Collective::kExchange;
}

constexpr size_t kColumns = 8;
std::array<uint32_t, kColumns> columns(const TableRow& r, uint32_t size_index) {
  return {static_cast<uint32_t>(r.row.collective), static_cast<uint32_t>(r.row.type),
          static_cast<uint32_t>(r.row.op),         r.row.in_place ? 1u : 0u,
          static_cast<uint32_t>(r.memory),         size_index,
          static_cast<uint32_t>(r.row.lengths),    r.row.gaps ? 1u : 0u};
}

// Keeps rows that cover a pair of column values not seen before.
std::vector<TableRow> covering(std::vector<TableRow> rows, uint64_t seed, uint32_t nranks) {
  std::mt19937_64 random(seed);
  std::shuffle(rows.begin(), rows.end(), random);
  const auto all_sizes = sizes(nranks);
  std::set<std::array<uint32_t, 4>> seen;
  std::vector<TableRow> kept;
  for (const TableRow& row : rows) {
    const auto size_index = static_cast<uint32_t>(
        std::find(all_sizes.begin(), all_sizes.end(), row.row.count) - all_sizes.begin());
    const auto values = columns(row, size_index);
    bool news = false;
    for (uint32_t a = 0; a < kColumns; ++a) {
      for (uint32_t b = a + 1; b < kColumns; ++b) news |= seen.insert({a, values[a], b, values[b]}).second;
    }
    if (news) kept.push_back(row);
  }
  return kept;
}

// The row's place, in each memory and with each kind of lengths.
void add_places(const TableChoice& choice, Row row, std::vector<TableRow>& rows) {
  const int kinds = is_varying(row.collective) ? kLengthsCount : 1;
  const uint64_t turn = row.count + static_cast<uint64_t>(row.type);
  if (is_rooted(row.collective)) row.root = static_cast<uint32_t>(turn % choice.nranks);
  for (int lengths = 0; lengths < kinds; ++lengths) {
    row.lengths = static_cast<Lengths>(lengths);
    row.gaps = is_varying(row.collective) &&
               (turn + static_cast<uint64_t>(row.op) + static_cast<uint64_t>(lengths)) % 2 == 1;
    for (const bool in_place : {false, true}) {
      if (in_place && !has_in_place(row.collective)) continue;
      row.in_place = in_place;
      for (const Memory memory : choice.memories) rows.push_back({row, memory});
    }
  }
}

void add_rows(const TableChoice& choice, Collective collective, std::vector<TableRow>& rows) {
  if (collective == Collective::kBarrier) {
    rows.push_back(
        {Row{collective, DataType::kInt8, RedOp::kSum, choice.nranks, 0, 0, false}, choice.memories.front()});
    return;
  }
  const int ops = is_reduction(collective) ? kRedOpCount + 1 : 1;  // and kPreMulSum
  for (const uint64_t count : sizes(choice.nranks)) {
    for (int type = 0; type < kDataTypeCount; ++type) {
      for (int op = 0; op < ops; ++op) {
        add_places(choice,
                   Row{collective, static_cast<DataType>(type), static_cast<RedOp>(op), choice.nranks, 0,
                       count, false},
                   rows);
      }
    }
  }
}

}  // namespace

std::string describe(const TableRow& row) {
  constexpr const char* kNames[] = {"malloc", "MemAlloc", "a device"};
  constexpr const char* kScalars[] = {"", ", scalar given", ", scalar on the host", ", scalar on the device"};
  return fmt::format("{}, {}{}", describe(row.row), kNames[static_cast<int>(row.memory)],
                     kScalars[static_cast<int>(row.scalar)]);
}

std::vector<TableRow> make_rows(const TableChoice& choice) {
  std::vector<TableRow> rows;
  for (const Collective collective : collectives_of(choice)) add_rows(choice, collective, rows);
  return choice.pairwise ? covering(std::move(rows), choice.seed, choice.nranks) : rows;
}

uint64_t full_count(const TableChoice& choice) {
  uint64_t count = 0;
  for (const Collective collective : collectives_of(choice)) {
    const uint64_t ops = is_reduction(collective) ? 6 : 1;
    const uint64_t places = has_in_place(collective) ? 2 : 1;
    const uint64_t lengths = is_varying(collective) ? 3 : 1;
    const uint64_t rows = 6 * 12 * ops * places * lengths * choice.memories.size();
    count += collective == Collective::kBarrier ? 1 : rows;
  }
  return count;
}

std::string encode_choice(const TableChoice& choice) {
  std::string text = fmt::format("{} {} {}", choice.nranks, choice.pairwise ? 1 : 0, choice.seed);
  text += fmt::format(" {}", choice.memories.size());
  for (const Memory memory : choice.memories) text += fmt::format(" {}", static_cast<int>(memory));
  text += fmt::format(" {}", choice.collectives.size());
  for (const Collective collective : choice.collectives)
    text += fmt::format(" {}", static_cast<int>(collective));
  text += fmt::format(" {}", choice.devices.size());
  for (const std::string& device : choice.devices) text += " " + device;
  return text;
}

TableChoice decode_choice(const std::string& text) {
  std::istringstream in(text);
  TableChoice choice;
  size_t memories = 0, collectives = 0, devices = 0;
  in >> choice.nranks >> choice.pairwise >> choice.seed >> memories;
  choice.memories.resize(memories);
  for (Memory& memory : choice.memories) {
    int value = 0;
    in >> value;
    memory = static_cast<Memory>(value);
  }
  in >> collectives;
  choice.collectives.resize(collectives);
  for (Collective& collective : choice.collectives) {
    int value = 0;
    in >> value;
    collective = static_cast<Collective>(value);
  }
  in >> devices;
  choice.devices.resize(devices);
  for (std::string& device : choice.devices) in >> device;
  return choice;
}

}  // namespace comity::test
