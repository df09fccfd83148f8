#include "transports/verbs/letters.h"

#include <fmt/core.h>
#include <sodium.h>

#include "src/base/bytes.h"
#include "transports/verbs/rails.h"

namespace comity::verbs {
namespace {

constexpr size_t kNonce = crypto_secretbox_NONCEBYTES, kMac = crypto_secretbox_MACBYTES;
static_assert(crypto_secretbox_KEYBYTES == sizeof(Secret));

unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}
const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

}  // namespace

Secret letter_key(const Secret& secret, uint64_t communicator) {
  return derive_secret(secret, fmt::format("verbs letters {:016x}", communicator));
}

std::vector<std::byte> seal(const LetterContent& letter, const Secret& key) {
  ByteWriter writer;
  writer.put(static_cast<uint8_t>(letter.kind)).put(letter.from).put(letter.to).put(letter.epoch);
  writer.put(static_cast<uint32_t>(letter.queues.size()));
  for (const QueueCard& queue : letter.queues) writer.put(queue);
  const Bytes plain = writer.take();
  std::vector<std::byte> sealed(kNonce + kMac + plain.size());
  random_bytes(sealed.data(), kNonce);
  crypto_secretbox_easy(raw(sealed.data()) + kNonce, raw(plain.data()), plain.size(), raw(sealed.data()),
                        raw(key.data()));
  return sealed;
}

std::optional<LetterContent> unseal(std::span<const std::byte> bytes, const Secret& key) {
  if (bytes.size() < kNonce + kMac) return std::nullopt;
  Bytes plain(bytes.size() - kNonce - kMac);
  if (crypto_secretbox_open_easy(raw(plain.data()), raw(bytes.data()) + kNonce, bytes.size() - kNonce,
                                 raw(bytes.data()), raw(key.data())) != 0)
    return std::nullopt;
  ByteReader reader(plain);
  LetterContent letter;
  letter.kind = static_cast<LetterContent::Kind>(reader.get<uint8_t>());
  letter.from = reader.get<uint32_t>();
  letter.to = reader.get<uint32_t>();
  letter.epoch = reader.get<uint32_t>();
  const auto queues = reader.get<uint32_t>();
  if (queues > kMaxRails * kMaxQueuePairs) return std::nullopt;
  for (uint32_t i = 0; i < queues; ++i) letter.queues.push_back(reader.get<QueueCard>());
  const bool known = letter.kind == LetterContent::Kind::kCard || letter.kind == LetterContent::Kind::kUp;
  return known && reader.at_end() ? std::optional(std::move(letter)) : std::nullopt;
}

}  // namespace comity::verbs
