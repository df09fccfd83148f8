#include "src/control/messages.h"

#include <algorithm>

namespace comity::control {
namespace {

constexpr size_t kMaxAddresses = 8;
constexpr size_t kAddressBytes = 28;

void put_addresses(ByteWriter& writer, const std::vector<SocketAddress>& addresses) {
  const size_t count = std::min(addresses.size(), kMaxAddresses);
  writer.put(static_cast<uint8_t>(count));
  for (size_t i = 0; i < count; ++i) writer.put_blob(addresses[i].encode());
}

bool get_addresses(ByteReader& reader, std::vector<SocketAddress>& addresses) {
  const auto count = reader.get<uint8_t>();
  if (count > kMaxAddresses) return false;
  for (uint8_t i = 0; i < count; ++i) {
    const auto blob = reader.get_blob();
    if (blob.size() != kAddressBytes) return false;
    auto address = SocketAddress::decode(blob.data(), blob.size());
    if (!address.ok()) return false;
    addresses.push_back(*address);
  }
  return true;
}

void put_text(ByteWriter& writer, const std::string& text) {
  writer.put_text(std::string_view(text).substr(0, kMaxTextBytes));
}

bool get_text(ByteReader& reader, std::string& text) {
  text = reader.get_text();
  return reader.ok() && text.size() <= kMaxTextBytes;
}

bool get_code(ByteReader& reader, Code& code) {
  const auto value = reader.get<uint8_t>();
  if (value > static_cast<uint8_t>(Code::kUnsupported)) return false;
  code = static_cast<Code>(value);
  return true;
}

bool get_bool(ByteReader& reader, bool& value) {
  const auto byte = reader.get<uint8_t>();
  value = byte == 1;
  return byte <= 1;
}

void put_ids(ByteWriter& writer, const std::vector<uint64_t>& ids) {
  writer.put(static_cast<uint32_t>(ids.size()));
  for (const uint64_t id : ids) writer.put(id);
}

// Nothing is reserved by a count: a stranger's number must cost its own bytes first.
bool get_ids(ByteReader& reader, std::vector<uint64_t>& ids) {
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) ids.push_back(reader.get<uint64_t>());
  return reader.ok();
}

void put_items(ByteWriter& writer, const std::vector<RankedBytes>& items) {
  writer.put(static_cast<uint32_t>(items.size()));
  for (const RankedBytes& item : items) writer.put(item.rank).put_blob(item.bytes);
}

bool get_items(ByteReader& reader, std::vector<RankedBytes>& items) {
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    RankedBytes item;
    item.rank = reader.get<uint32_t>();
    const auto blob = reader.get_blob();
    item.bytes.assign(blob.begin(), blob.end());
    if (!items.empty() && item.rank <= items.back().rank) return false;
    items.push_back(std::move(item));
  }
  return reader.ok();
}

void put_fault(ByteWriter& writer, const Fault& fault) {
  writer.put(fault.code).put(fault.communicator).put(fault.rank);
  put_text(writer, fault.text);
  put_ids(writer, fault.left);
}

bool get_fault(ByteReader& reader, Fault& fault) {
  if (!get_code(reader, fault.code)) return false;
  fault.communicator = reader.get<uint64_t>();
  fault.rank = reader.get<uint32_t>();
  return get_text(reader, fault.text) && get_ids(reader, fault.left) && fault.code != Code::kSuccess &&
         fault.code != Code::kInProgress;
}

}  // namespace

Fault fault_of(Code code, std::string text) {
  if (text.size() > kMaxTextBytes) text.resize(kMaxTextBytes);
  const bool is_error = code != Code::kSuccess && code != Code::kInProgress;
  return Fault{is_error ? code : Code::kInternalError, std::move(text), 0, kNobody, {}};
}

Bytes encode(const Visit& visit) {
  ByteWriter writer;
  writer.put(visit.purpose).put(visit.nranks).put(visit.visitor).put(visit.code);
  put_text(writer, visit.text);
  put_addresses(writer, visit.addresses);
  return writer.take();
}

std::optional<Visit> decode_visit(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Visit visit;
  const auto purpose = reader.get<uint8_t>();
  if (purpose < 1 || purpose > 4) return std::nullopt;
  visit.purpose = static_cast<VisitPurpose>(purpose);
  visit.nranks = reader.get<uint32_t>();
  visit.visitor = reader.get<uint64_t>();
  if (!get_code(reader, visit.code) || !get_text(reader, visit.text) ||
      !get_addresses(reader, visit.addresses)) {
    return std::nullopt;
  }
  return reader.at_end() ? std::optional(std::move(visit)) : std::nullopt;
}

Bytes encode(const Answer& answer) {
  ByteWriter writer;
  writer.put(answer.kind).put(answer.come_back_ms).put(answer.code);
  put_text(writer, answer.text);
  put_text(writer, answer.missing);
  put_addresses(writer, answer.addresses);
  return writer.take();
}

std::optional<Answer> decode_answer(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Answer answer;
  const auto kind = reader.get<uint8_t>();
  if (kind < 1 || kind > 4) return std::nullopt;
  answer.kind = static_cast<AnswerKind>(kind);
  answer.come_back_ms = reader.get<uint32_t>();
  if (!get_code(reader, answer.code) || !get_text(reader, answer.text) || !get_text(reader, answer.missing) ||
      !get_addresses(reader, answer.addresses)) {
    return std::nullopt;
  }
  return reader.at_end() ? std::optional(std::move(answer)) : std::nullopt;
}

Bytes encode(const Gathered& gathered) {
  ByteWriter writer;
  writer.put(gathered.sequence);
  put_items(writer, gathered.items);
  return writer.take();
}

std::optional<Gathered> decode_gathered(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Gathered gathered;
  gathered.sequence = reader.get<uint64_t>();
  if (!get_items(reader, gathered.items)) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(gathered)) : std::nullopt;
}

Bytes encode(const Agreement& agreement) {
  ByteWriter writer;
  writer.put(agreement.sequence).put(static_cast<uint8_t>(agreement.equal)).put(agreement.hash);
  return writer.take();
}

std::optional<Agreement> decode_agreement(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Agreement agreement;
  agreement.sequence = reader.get<uint64_t>();
  if (!get_bool(reader, agreement.equal)) return std::nullopt;
  agreement.hash = reader.get<std::array<std::byte, 32>>();
  return reader.at_end() ? std::optional(agreement) : std::nullopt;
}

Bytes encode(const ScopePart& part) {
  ByteWriter writer;
  writer.put(part.communicator).put(part.sequence).put(part.members);
  part.came.encode(writer);
  writer.put(static_cast<uint8_t>(part.compares)).put(static_cast<uint8_t>(part.equal)).put(part.hash);
  writer.put(part.lowest).put(part.balance);
  put_items(writer, part.items);
  return writer.take();
}

std::optional<ScopePart> decode_scope_part(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  ScopePart part;
  part.communicator = reader.get<uint64_t>();
  part.sequence = reader.get<uint64_t>();
  part.members = reader.get<uint32_t>();
  auto came = RankSet::decode(reader, part.members);
  if (!came) return std::nullopt;
  part.came = std::move(*came);
  if (!get_bool(reader, part.compares) || !get_bool(reader, part.equal)) return std::nullopt;
  part.hash = reader.get<std::array<std::byte, 32>>();
  part.lowest = reader.get<uint64_t>();
  part.balance = reader.get<std::array<uint64_t, 2>>();
  if (!get_items(reader, part.items)) return std::nullopt;
  if (part.items.size() != (part.compares ? 0 : part.came.size())) return std::nullopt;
  const bool theirs = std::all_of(part.items.begin(), part.items.end(),
                                  [&](const RankedBytes& item) { return part.came.contains(item.rank); });
  return theirs && reader.at_end() ? std::optional(std::move(part)) : std::nullopt;
}

Bytes encode(const LateScope& late) {
  ByteWriter writer;
  writer.put(late.communicator).put(late.sequence).put(late.rank);
  writer.put(static_cast<uint32_t>(late.members.size()));
  for (const uint32_t member : late.members) writer.put(member);
  put_text(writer, late.what);
  return writer.take();
}

std::optional<LateScope> decode_late_scope(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  LateScope late;
  late.communicator = reader.get<uint64_t>();
  late.sequence = reader.get<uint64_t>();
  late.rank = reader.get<uint32_t>();
  const auto members = reader.get<uint32_t>();
  for (uint32_t i = 0; i < members && reader.ok(); ++i) late.members.push_back(reader.get<uint32_t>());
  if (!get_text(reader, late.what)) return std::nullopt;
  if (!late.members.empty() && late.rank >= late.members.size()) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(late)) : std::nullopt;
}

Bytes encode(const Fault& fault) {
  ByteWriter writer;
  put_fault(writer, fault);
  return writer.take();
}

std::optional<Fault> decode_fault(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Fault fault;
  if (!get_fault(reader, fault)) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(fault)) : std::nullopt;
}

Bytes encode(const Decided& decided) {
  ByteWriter writer;
  writer.put(decided.slot);
  put_fault(writer, decided.fault);
  return writer.take();
}

std::optional<Decided> decode_decided(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Decided decided;
  decided.slot = reader.get<uint64_t>();
  if (!get_fault(reader, decided.fault)) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(decided)) : std::nullopt;
}

Bytes encode(const Leaving& leaving) {
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(leaving.left.size()));
  for (const Left& left : leaving.left) writer.put(left.communicator).put(left.rank).put(left.last_number);
  return writer.take();
}

std::optional<Leaving> decode_leaving(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Leaving leaving;
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    Left left;
    left.communicator = reader.get<uint64_t>();
    left.rank = reader.get<uint32_t>();
    left.last_number = reader.get<uint64_t>();
    leaving.left.push_back(left);
  }
  return reader.at_end() ? std::optional(std::move(leaving)) : std::nullopt;
}

Bytes encode(const Parted& parted) {
  ByteWriter writer;
  put_ids(writer, parted.communicators);
  return writer.take();
}

std::optional<Parted> decode_parted(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Parted parted;
  if (!get_ids(reader, parted.communicators)) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(parted)) : std::nullopt;
}

Bytes encode(const Ended& ended) {
  ByteWriter writer;
  writer.put(ended.rank);
  return writer.take();
}

std::optional<Ended> decode_ended(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const Ended ended{reader.get<uint32_t>()};
  return reader.at_end() ? std::optional(ended) : std::nullopt;
}

Bytes encode(const Gone& gone) {
  ByteWriter writer;
  gone.all.encode(writer);
  gone.left.encode(writer);
  return writer.take();
}

std::optional<Gone> decode_gone(std::span<const std::byte> bytes, uint32_t nranks) {
  ByteReader reader(bytes);
  auto all = RankSet::decode(reader, nranks);
  auto left = RankSet::decode(reader, nranks);
  if (!all || !left || !reader.at_end()) return std::nullopt;
  return Gone{std::move(*all), std::move(*left)};
}

Bytes encode(const Lead& lead) {
  ByteWriter writer;
  writer.put(lead.ballot).put(lead.slot).put(static_cast<uint8_t>(lead.proposal.has_value()));
  if (lead.proposal) put_fault(writer, *lead.proposal);
  return writer.take();
}

std::optional<Lead> decode_lead(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Lead lead;
  lead.ballot = reader.get<Ballot>();
  lead.slot = reader.get<uint64_t>();
  bool proposes = false;
  if (!get_bool(reader, proposes)) return std::nullopt;
  if (proposes && !get_fault(reader, lead.proposal.emplace())) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(lead)) : std::nullopt;
}

Bytes encode(const TreeState& state) {
  ByteWriter writer;
  writer.put(state.ballot).put(state.slot);
  for (const RankSet* set : {&state.promised, &state.agreeing, &state.gone.all, &state.gone.left})
    set->encode(writer);
  writer.put(static_cast<uint8_t>(state.accepted.has_value()));
  if (state.accepted) {
    writer.put(state.accepted->ballot);
    put_fault(writer, state.accepted->fault);
  }
  return writer.take();
}

std::optional<TreeState> decode_tree_state(std::span<const std::byte> bytes, uint32_t nranks) {
  ByteReader reader(bytes);
  TreeState state;
  state.ballot = reader.get<Ballot>();
  state.slot = reader.get<uint64_t>();
  for (RankSet* set : {&state.promised, &state.agreeing, &state.gone.all, &state.gone.left}) {
    auto decoded = RankSet::decode(reader, nranks);
    if (!decoded) return std::nullopt;
    *set = std::move(*decoded);
  }
  bool accepted = false;
  if (!get_bool(reader, accepted)) return std::nullopt;
  if (accepted) {
    state.accepted.emplace().ballot = reader.get<Ballot>();
    if (!get_fault(reader, state.accepted->fault)) return std::nullopt;
  }
  return reader.at_end() ? std::optional(std::move(state)) : std::nullopt;
}

}  // namespace comity::control
