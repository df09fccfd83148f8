#include "src/engine/prologue.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace comity::engine {
namespace {

constexpr uint32_t kStagingQueue = 0;
constexpr uint64_t kHopBytes = uint64_t{1} << 20;

}  // namespace

Prologue::~Prologue() {
  drop();
}

void Prologue::wait(const Call& call, std::span<const std::shared_ptr<Passage>> ahead) {
  call_ = call;
  ahead_ = ahead;
  to_ = nullptr;
  pending_ = true;
}

Status Prologue::stage(const Call& call, Device& from, Device& to, uint64_t bytes) {
  COMITY_RETURN_IF_ERROR(provide(to, bytes));
  call_ = call;
  ahead_ = {};
  input_ = static_cast<const std::byte*>(call.input);
  bytes_ = bytes;
  from_ = &from;
  to_ = &to;
  hop_ = Hop{};
  copier_ = to.host_addressable() ? &from : from.host_addressable() ? &to : nullptr;
  if (copier_ != nullptr) {
    COMITY_ASSIGN_OR_RETURN(token_, copier_->copy(kStagingQueue, memory_, input_, bytes));
  } else if (bounce_.data() == nullptr) {
    bounce_ = Mapping(kHopBytes);
    if (!bounce_.valid()) return Status(Code::kSystemError, "no memory to copy from device to device");
  }
  pending_ = true;
  return {};
}

Status Prologue::provide(Device& to, uint64_t bytes) {
  Device* const owner = to.host_addressable() ? nullptr : &to;
  if (memory_ != nullptr && owner == owner_ && bytes <= capacity_) return {};
  drop();
  owner_ = owner;
  if (owner == nullptr) {
    host_ = Mapping(bytes);
    if (!host_.valid())
      return Status(Code::kSystemError, fmt::format("no memory for an input of {} bytes", bytes));
    memory_ = host_.data();
  } else {
    COMITY_ASSIGN_OR_RETURN(void* memory, owner->allocate(bytes));
    memory_ = static_cast<std::byte*>(memory);
  }
  capacity_ = bytes;
  return {};
}

void Prologue::drop() {
  if (memory_ != nullptr && pending_) return leave();
  if (memory_ != nullptr && owner_ != nullptr) static_cast<void>(owner_->release(memory_));
  host_ = Mapping();
  memory_ = nullptr;
  capacity_ = 0;
}

void Prologue::leave() {
  devices_.keep(std::make_shared<Mapping>(std::move(host_)));
  devices_.keep(std::make_shared<Mapping>(std::move(bounce_)));
  memory_ = nullptr;
}

void Prologue::give_up() {
  if (!pending_) return;
  ahead_ = {};
  if (to_ != nullptr) drop();
  pending_ = false;
}

Result<bool> Prologue::poll() {
  for (; !ahead_.empty(); ahead_ = ahead_.subspan(1)) {
    COMITY_ASSIGN_OR_RETURN(const bool done, ahead_.front()->ahead_is_done());
    if (!done) return false;
  }
  if (to_ != nullptr) {
    bool done = false;
    if (copier_ != nullptr) {
      COMITY_ASSIGN_OR_RETURN(done, copier_->poll(kStagingQueue, token_));
    } else {
      COMITY_ASSIGN_OR_RETURN(done, poll_hop());
    }
    if (!done) return false;
    call_.input = memory_;
  }
  pending_ = false;
  return true;
}

Result<bool> Prologue::poll_hop() {
  while (hop_.done < bytes_) {
    if (hop_.leaving || hop_.arriving) {
      Device& mover = hop_.leaving ? *from_ : *to_;
      COMITY_ASSIGN_OR_RETURN(const bool over, mover.poll(kStagingQueue, hop_.token));
      if (!over) return false;
      if (hop_.arriving) hop_.done += hop_.piece;
    }
    if (hop_.leaving) {
      COMITY_ASSIGN_OR_RETURN(hop_.token,
                              to_->copy(kStagingQueue, memory_ + hop_.done, bounce_.data(), hop_.piece));
    } else if (hop_.done < bytes_) {
      hop_.piece = std::min(kHopBytes, bytes_ - hop_.done);
      COMITY_ASSIGN_OR_RETURN(hop_.token,
                              from_->copy(kStagingQueue, bounce_.data(), input_ + hop_.done, hop_.piece));
    }
    hop_.arriving = std::exchange(hop_.leaving, !hop_.leaving);
  }
  return true;
}

}  // namespace comity::engine
