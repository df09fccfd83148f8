#include "src/control/call_counts.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "src/base/hash.h"

namespace comity::control {
namespace {

constexpr size_t kMaxDescriptionBytes = 200;

std::string counted(uint64_t number, std::string_view one) {
  return fmt::format("{} {}{}", number, one, number == 1 ? "" : "s");
}

std::optional<CallCounts> decode(const Bytes& bytes) {
  ByteReader reader(bytes);
  CallCounts counts;
  counts.rank = reader.get<uint32_t>();
  counts.collectives = reader.get<uint64_t>();
  counts.next = reader.get_text();
  const auto count = reader.get<uint32_t>();
  const auto recent = reader.get<uint32_t>();
  for (uint32_t i = 0; i < recent && reader.ok(); ++i) counts.recent.push_back(reader.get<uint64_t>());
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    PairCount pair;
    pair.peer = reader.get<uint32_t>();
    pair.sends = reader.get<uint64_t>();
    pair.receives = reader.get<uint64_t>();
    counts.pairs.push_back(pair);
  }
  return reader.at_end() ? std::optional(std::move(counts)) : std::nullopt;
}

// Of `everyone` one made as few collectives as any, and another made more.
std::string difference_in_collectives(const std::vector<CallCounts>& everyone, uint64_t lowest) {
  const auto few = std::find_if(everyone.begin(), everyone.end(),
                                [&](const CallCounts& counts) { return counts.collectives == lowest; });
  const auto more = std::find_if(everyone.begin(), everyone.end(),
                                 [&](const CallCounts& counts) { return counts.collectives > lowest; });
  if (few == everyone.end() || more == everyone.end()) return {};
  std::string text = fmt::format("rank {} made {}, rank {} made {}", few->rank, counted(lowest, "collective"),
                                 more->rank, more->collectives);
  if (!more->next.empty()) text += fmt::format(": number {} was {}", lowest + 1, more->next);
  return text;
}

std::string difference_in_pairs(const std::vector<CallCounts>& everyone) {
  std::map<std::pair<uint32_t, uint32_t>, std::pair<uint64_t, uint64_t>> sent_and_received;  // by (from, to)
  for (const CallCounts& counts : everyone) {
    for (const PairCount& pair : counts.pairs) {
      sent_and_received[{counts.rank, pair.peer}].first += pair.sends;
      sent_and_received[{pair.peer, counts.rank}].second += pair.receives;
    }
  }
  for (const auto& [pair, numbers] : sent_and_received) {
    if (numbers.first == numbers.second) continue;
    return fmt::format("rank {} made {} to rank {}, which made {} from it", pair.first,
                       counted(numbers.first, "Send"), pair.second, counted(numbers.second, "Recv"));
  }
  return {};
}

}  // namespace

std::array<uint64_t, 2> balance_of(const CallCounts& counts) {
  std::array<uint64_t, 2> sums{};
  const auto weight = [](uint64_t half, uint32_t from, uint32_t to) {
    return mix(mix(half + 1) ^ (uint64_t{from} << 32 | to)) | 1u;
  };
  for (const PairCount& pair : counts.pairs) {
    for (uint64_t half = 0; half < sums.size(); ++half) {
      sums[half] += pair.sends * weight(half, counts.rank, pair.peer);
      sums[half] -= pair.receives * weight(half, pair.peer, counts.rank);
    }
  }
  return sums;
}

std::vector<uint64_t> recent_signatures(const CallLog& calls) {
  std::vector<uint64_t> signatures;
  for (uint64_t number = calls.last_number(); number > 0 && signatures.size() < kRecentCalls; --number) {
    const auto record = calls.find(number);
    if (!record) break;
    signatures.push_back(record->signature);
  }
  return signatures;
}

DifferingCall first_differing_call(const std::vector<CallCounts>& everyone) {
  DifferingCall found;
  for (uint32_t rank = 1; rank < everyone.size(); ++rank) {
    const CallCounts &first = everyone.front(), &its = everyone[rank];
    if (its.collectives != first.collectives) continue;
    const size_t known = std::min(first.recent.size(), its.recent.size());
    for (size_t back = 0; back < known; ++back) {
      const uint64_t number = first.collectives - back;
      if (first.recent[back] == its.recent[back] || (found.number != 0 && found.number <= number)) continue;
      found = {number, rank};
    }
  }
  return found;
}

Bytes encode(const CallCounts& counts) {
  ByteWriter writer;
  writer.put(counts.rank).put(counts.collectives);
  writer.put_text(std::string_view(counts.next).substr(0, kMaxDescriptionBytes));
  writer.put(static_cast<uint32_t>(counts.pairs.size()));
  writer.put(static_cast<uint32_t>(counts.recent.size()));
  for (const uint64_t signature : counts.recent) writer.put(signature);
  for (const PairCount& pair : counts.pairs) writer.put(pair.peer).put(pair.sends).put(pair.receives);
  return writer.take();
}

Result<std::vector<CallCounts>> decode_counts(const std::vector<Bytes>& everyone) {
  std::vector<CallCounts> decoded;
  for (const Bytes& bytes : everyone) {
    auto counts = decode(bytes);
    if (!counts) return Status(Code::kRemoteError, "a rank sent counts of calls that cannot be");
    decoded.push_back(std::move(*counts));
  }
  return decoded;
}

Status first_difference_in_counts(const std::vector<CallCounts>& everyone, uint64_t lowest) {
  std::string text = difference_in_collectives(everyone, lowest);
  if (text.empty()) text = difference_in_pairs(everyone);
  if (text.empty())
    return Status(Code::kInternalError, "counts of calls are alike and sum up to more than none");
  return Status(Code::kInvalidUsage, "ranks made different calls: " + text);
}

}  // namespace comity::control
