// Bytes of the messages about calls: opinions on them, and what ranks wait for.
#include "src/control/messages.h"

namespace comity::control {
namespace {

void put_record(ByteWriter& writer, const CallRecord& record) {
  writer.put(record.number).put(record.signature).put(record.count).put(record.root);
  writer.put(record.collective).put(record.type).put(record.op);
}

bool get_record(ByteReader& reader, CallRecord& record) {
  record.number = reader.get<uint64_t>();
  record.signature = reader.get<uint64_t>();
  record.count = reader.get<uint64_t>();
  record.root = reader.get<uint32_t>();
  const auto collective = reader.get<uint8_t>();
  const auto type = reader.get<uint8_t>();
  const auto op = reader.get<uint8_t>();
  // They index tables of names.
  if (collective >= kCallKindCount || type >= kDataTypeCount) return false;
  if (op > static_cast<uint8_t>(kPreMulSum)) return false;
  record.collective = static_cast<Collective>(collective);
  record.type = static_cast<DataType>(type);
  record.op = static_cast<RedOp>(op);
  return reader.ok();
}

bool get_opinion(ByteReader& reader, Opinion& opinion) {
  opinion.number = reader.get<uint64_t>();
  opinion.rank = reader.get<uint32_t>();
  opinion.member = reader.get<uint32_t>();
  const auto standing = reader.get<uint8_t>();
  if (standing > static_cast<uint8_t>(Standing::kFinished)) return false;
  opinion.standing = static_cast<Standing>(standing);
  if (!get_record(reader, opinion.record)) return false;
  const uint64_t number = opinion.record.number;
  return opinion.standing == Standing::kCalled ? number == opinion.number : number < opinion.number;
}

void put_now(ByteWriter& writer, const WaitingFor::Now& now) {
  writer.put(now.stamp).put(static_cast<uint8_t>(now.waits)).put(now.collective);
  writer.put(static_cast<uint32_t>(now.exchanges.size()));
  for (const auto& one : now.exchanges)
    writer.put(one.peer).put(static_cast<uint8_t>(one.sends)).put(one.number);
  writer.put(static_cast<uint32_t>(now.pairs.size()));
  for (const PairCount& pair : now.pairs) writer.put(pair.peer).put(pair.sends).put(pair.receives);
}

// Nothing is reserved by a count: a stranger's number must cost its own bytes first.
bool get_now(ByteReader& reader, WaitingFor::Now& now) {
  now.stamp = reader.get<uint64_t>();
  const auto waits = reader.get<uint8_t>();
  now.waits = waits == 1;
  now.collective = reader.get<uint64_t>();
  const auto exchanges = reader.get<uint32_t>();
  for (uint32_t i = 0; i < exchanges && reader.ok(); ++i) {
    WaitingFor::Exchange one;
    one.peer = reader.get<uint32_t>();
    const auto sends = reader.get<uint8_t>();
    if (sends > 1) return false;
    one.sends = sends == 1;
    one.number = reader.get<uint64_t>();
    now.exchanges.push_back(one);
  }
  const auto pairs = reader.get<uint32_t>();
  for (uint32_t i = 0; i < pairs && reader.ok(); ++i) {
    PairCount pair;
    pair.peer = reader.get<uint32_t>();
    pair.sends = reader.get<uint64_t>();
    pair.receives = reader.get<uint64_t>();
    now.pairs.push_back(pair);
  }
  return waits <= 1 && reader.ok();
}

}  // namespace

Bytes encode(const Opinions& opinions) {
  ByteWriter writer;
  writer.put(opinions.inquiry).put(static_cast<uint32_t>(opinions.opinions.size()));
  for (const Opinion& opinion : opinions.opinions) {
    writer.put(opinion.number).put(opinion.rank).put(opinion.member).put(opinion.standing);
    put_record(writer, opinion.record);
  }
  return writer.take();
}

std::optional<Opinions> decode_opinions(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Opinions opinions;
  opinions.inquiry = reader.get<uint64_t>();
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    Opinion opinion;
    if (!get_opinion(reader, opinion)) return std::nullopt;
    if (!opinions.opinions.empty() && opinion.number < opinions.opinions.back().number) return std::nullopt;
    opinions.opinions.push_back(opinion);
  }
  return reader.at_end() ? std::optional(std::move(opinions)) : std::nullopt;
}

Bytes encode(const Inquiry& inquiry) {
  ByteWriter writer;
  writer.put(inquiry.inquiry).put(inquiry.communicator).put(inquiry.first).put(inquiry.last);
  return writer.take();
}

std::optional<Inquiry> decode_inquiry(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Inquiry inquiry;
  inquiry.inquiry = reader.get<uint64_t>();
  inquiry.communicator = reader.get<uint64_t>();
  inquiry.first = reader.get<uint64_t>();
  inquiry.last = reader.get<uint64_t>();
  if (inquiry.first == 0 || inquiry.first > inquiry.last || inquiry.last - inquiry.first >= kMostAsked)
    return std::nullopt;
  return reader.at_end() ? std::optional(inquiry) : std::nullopt;
}

Bytes encode(const Waiting& waits) {
  ByteWriter writer;
  writer.put(waits.round).put(waits.communicator).put(waits.rank).put(waits.member).put(waits.last_number);
  put_record(writer, waits.record);
  put_now(writer, waits.now);
  return writer.take();
}

std::optional<Waiting> decode_waits(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Waiting waits;
  waits.round = reader.get<uint64_t>();
  waits.communicator = reader.get<uint64_t>();
  waits.rank = reader.get<uint32_t>();
  waits.member = reader.get<uint32_t>();
  waits.last_number = reader.get<uint64_t>();
  if (!get_record(reader, waits.record) || !get_now(reader, waits.now)) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(waits)) : std::nullopt;
}

Bytes encode(const WhoWaits& question) {
  ByteWriter writer;
  writer.put(question.round).put(question.communicator).put(static_cast<uint32_t>(question.ranks.size()));
  for (const uint32_t rank : question.ranks) writer.put(rank);
  return writer.take();
}

std::optional<WhoWaits> decode_who_waits(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  WhoWaits question;
  question.round = reader.get<uint64_t>();
  question.communicator = reader.get<uint64_t>();
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) question.ranks.push_back(reader.get<uint32_t>());
  if (question.round == 0) return std::nullopt;
  return reader.at_end() ? std::optional(std::move(question)) : std::nullopt;
}

}  // namespace comity::control
