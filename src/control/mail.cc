#include "src/control/mail.h"

#include <utility>

namespace comity::control {

Bytes encode(const Letter& letter) {
  return ByteWriter().put(letter.from).put(letter.to).put(letter.box).put_blob(letter.content).take();
}

std::optional<Letter> decode_letter(std::span<const std::byte> bytes, uint32_t nranks) {
  ByteReader reader(bytes);
  Letter letter;
  letter.from = reader.get<uint32_t>();
  letter.to = reader.get<uint32_t>();
  letter.box = reader.get<uint8_t>();
  const auto content = reader.get_blob();
  if (!reader.at_end() || letter.from >= nranks || letter.to >= nranks || content.size() > kMaxLetterBytes)
    return std::nullopt;
  letter.content.assign(content.begin(), content.end());
  return letter;
}

void Letterboxes::open(uint8_t box, MailReceiver& receiver) {
  const std::lock_guard lock(mutex_);
  receivers_[box] = &receiver;
  std::erase_if(waiting_, [&](const Letter& letter) {
    if (letter.box != box) return false;
    receiver.came(letter.from, letter.content);
    return true;
  });
}

void Letterboxes::close(uint8_t box) {
  const std::lock_guard lock(mutex_);
  receivers_.erase(box);
}

void Letterboxes::deliver(Letter letter) {
  const std::lock_guard lock(mutex_);
  if (const auto found = receivers_.find(letter.box); found != receivers_.end())
    return found->second->came(letter.from, letter.content);
  if (waiting_.size() < kMostWaiting) waiting_.push_back(std::move(letter));
}

}  // namespace comity::control
