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

void put_fault(ByteWriter& writer, const Fault& fault) {
  writer.put(fault.code);
  put_text(writer, fault.text);
}

bool get_fault(ByteReader& reader, Fault& fault) {
  return get_code(reader, fault.code) && get_text(reader, fault.text) && fault.code != Code::kSuccess &&
         fault.code != Code::kInProgress;
}

}  // namespace

Fault fault_of(Code code, std::string text) {
  if (text.size() > kMaxTextBytes) text.resize(kMaxTextBytes);
  const bool is_error = code != Code::kSuccess && code != Code::kInProgress;
  return Fault{is_error ? code : Code::kInternalError, std::move(text)};
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
  writer.put(gathered.sequence).put(static_cast<uint32_t>(gathered.items.size()));
  for (const RankedBytes& item : gathered.items) writer.put(item.rank).put_blob(item.bytes);
  return writer.take();
}

std::optional<Gathered> decode_gathered(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Gathered gathered;
  gathered.sequence = reader.get<uint64_t>();
  const auto count = reader.get<uint32_t>();
  // Not reserved by `count`: a stranger's number must cost its own bytes first.
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    RankedBytes item;
    item.rank = reader.get<uint32_t>();
    const auto blob = reader.get_blob();
    item.bytes.assign(blob.begin(), blob.end());
    if (!gathered.items.empty() && item.rank <= gathered.items.back().rank) return std::nullopt;
    gathered.items.push_back(std::move(item));
  }
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

Bytes encode(const Opinion& opinion) {
  const CallRecord& record = opinion.record;
  ByteWriter writer;
  writer.put(opinion.inquiry).put(opinion.rank).put(static_cast<uint8_t>(opinion.left)).put(record.number);
  writer.put(record.signature).put(record.count).put(record.root).put(record.collective).put(record.type);
  writer.put(record.op);
  return writer.take();
}

std::optional<Opinion> decode_opinion(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Opinion opinion;
  CallRecord& record = opinion.record;
  opinion.inquiry = reader.get<uint64_t>();
  opinion.rank = reader.get<uint32_t>();
  if (!get_bool(reader, opinion.left)) return std::nullopt;
  record.number = reader.get<uint64_t>();
  record.signature = reader.get<uint64_t>();
  record.count = reader.get<uint64_t>();
  record.root = reader.get<uint32_t>();
  const auto collective = reader.get<uint8_t>();
  const auto type = reader.get<uint8_t>();
  const auto op = reader.get<uint8_t>();
  // They index tables of names.
  if (collective >= kCollectiveCount || type >= kDataTypeCount || op >= kRedOpCount) return std::nullopt;
  record.collective = static_cast<Collective>(collective);
  record.type = static_cast<DataType>(type);
  record.op = static_cast<RedOp>(op);
  return reader.at_end() ? std::optional(opinion) : std::nullopt;
}

Bytes encode(const Inquiry& inquiry) {
  ByteWriter writer;
  writer.put(inquiry.inquiry).put(inquiry.number);
  return writer.take();
}

std::optional<Inquiry> decode_inquiry(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Inquiry inquiry;
  inquiry.inquiry = reader.get<uint64_t>();
  inquiry.number = reader.get<uint64_t>();
  return reader.at_end() ? std::optional(inquiry) : std::nullopt;
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

Bytes encode(const Leaving& leaving) {
  ByteWriter writer;
  writer.put(leaving.last_number);
  return writer.take();
}

std::optional<Leaving> decode_leaving(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Leaving leaving;
  leaving.last_number = reader.get<uint64_t>();
  return reader.at_end() ? std::optional(leaving) : std::nullopt;
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

Bytes encode(const Lead& lead) {
  ByteWriter writer;
  writer.put(lead.ballot).put(static_cast<uint8_t>(lead.proposal.has_value()));
  if (lead.proposal) put_fault(writer, *lead.proposal);
  return writer.take();
}

std::optional<Lead> decode_lead(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Lead lead;
  lead.ballot = reader.get<Ballot>();
  bool proposes = false;
  if (!get_bool(reader, proposes)) return std::nullopt;
  if (proposes && !get_fault(reader, lead.proposal.emplace())) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(lead)) : std::nullopt;
}

Bytes encode(const TreeState& state) {
  ByteWriter writer;
  writer.put(state.ballot);
  for (const RankSet* set : {&state.promised, &state.agreeing, &state.gone}) set->encode(writer);
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
  for (RankSet* set : {&state.promised, &state.agreeing, &state.gone}) {
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
