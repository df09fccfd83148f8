#include "src/control/mail.h"

namespace comity::control {

Bytes encode(const Letter& letter) {
  return ByteWriter().put(letter.from).put(letter.to).put_blob(letter.content).take();
}

std::optional<Letter> decode_letter(std::span<const std::byte> bytes, uint32_t nranks) {
  ByteReader reader(bytes);
  Letter letter;
  letter.from = reader.get<uint32_t>();
  letter.to = reader.get<uint32_t>();
  const auto content = reader.get_blob();
  if (!reader.at_end() || letter.from >= nranks || letter.to >= nranks || content.size() > kMaxLetterBytes)
    return std::nullopt;
  letter.content.assign(content.begin(), content.end());
  return letter;
}

void Letterbox::open(MailReceiver& receiver) {
  const std::lock_guard lock(mutex_);
  receiver_ = &receiver;
  for (const auto& [from, content] : std::exchange(waiting_, {})) receiver.came(from, content);
}

void Letterbox::close() {
  const std::lock_guard lock(mutex_);
  receiver_ = nullptr;
}

void Letterbox::deliver(uint32_t from, Bytes content) {
  const std::lock_guard lock(mutex_);
  if (receiver_ != nullptr) return receiver_->came(from, content);
  if (waiting_.size() < kMostWaiting) waiting_.emplace_back(from, std::move(content));
}

}  // namespace comity::control
