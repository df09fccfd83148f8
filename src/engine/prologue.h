// Prologue: what comes before a call on devices that is not the call's own work.
//
//   the work ahead on users' streams ends -> the input comes to the memory that the output is of -> the call
//
// A call whose input and output lie in memory of different kinds is carried out on the output's; its input is
// copied there first, whole. What is ahead on a stream may take as long as the user likes: no time limit of
// the call's has begun.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comity/plugin/device.h"
#include "src/device/registry.h"
#include "src/engine/call.h"
#include "src/engine/mapping.h"

namespace comity::engine {

class Prologue {
 public:
  explicit Prologue(DeviceRegistry& devices) : devices_(devices) {}
  // Gives the memory back, unless a copy may still write it: then the devices keep it.
  ~Prologue();
  Prologue(const Prologue&) = delete;
  Prologue& operator=(const Prologue&) = delete;

  // The call waits for these. Both stay valid until it has ended.
  void wait(const Call& call, std::span<const std::shared_ptr<Passage>> ahead);
  // The call's input is copied, `bytes` of it, from memory of `from` to memory of `to`, which are different
  // devices; one of them may be the host. kSystemError: there is no memory for it.
  Status stage(const Call& call, Device& from, Device& to, uint64_t bytes);
  bool pending() const { return pending_; }
  // Advances; never blocks. True: call() may start now, and it is not pending any more.
  Result<bool> poll();
  // As it was given, or with the input that was staged, which stays until the next prologue.
  const Call& call() const { return call_; }
  // Forgets the call.
  void give_up();
  // What is staged stays for the devices, which may still use it.
  void leave();

 private:
  // Two devices have no copy in common: a piece at a time goes through memory of the host.
  struct Hop {
    uint64_t done = 0;   // bytes that arrived
    uint64_t piece = 0;  // on the way
    bool leaving = false, arriving = false;
    Token token = 0;
  };
  Status provide(Device& to, uint64_t bytes);
  Result<bool> poll_hop();
  void drop();

  DeviceRegistry& devices_;
  Call call_;
  bool pending_ = false;
  std::span<const std::shared_ptr<Passage>> ahead_;
  const std::byte* input_ = nullptr;
  uint64_t bytes_ = 0;
  Device* from_ = nullptr;
  Device* to_ = nullptr;      // null: nothing is staged
  Device* copier_ = nullptr;  // of the one copy; null: by hops
  Token token_ = 0;
  Hop hop_;
  Mapping bounce_, host_;
  Device* owner_ = nullptr;  // of memory_; null: the host
  std::byte* memory_ = nullptr;
  uint64_t capacity_ = 0;
};

}  // namespace comity::engine
