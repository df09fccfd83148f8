// What crosses the local socket over which a process asks another for descriptors of its memory.
//
//   request  arena 4, count 4, then as many arenas of 4 that the asker has mapped
//   answer   code 1, text, count 4, then as many of those that are there no longer; with code 0 exactly one
//            descriptor rides along. Then the owner closes.
#pragma once

#include <sys/un.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/bytes.h"
#include "src/base/unique_fd.h"

namespace comity::control {

inline constexpr uint32_t kMostHeld = 64;  // arenas in a request beside the one that is wanted
inline constexpr size_t kRequestHeadBytes = 8;
inline constexpr size_t kMaxAnswerBytes = 2048;

struct ArenaRequest {
  uint32_t arena = 0;
  std::vector<uint32_t> held;
};

struct ArenaAnswer {
  Status status;
  std::vector<uint32_t> gone;
};

// The first kMostHeld of `held` alone go.
Bytes encode(const ArenaRequest& request);
// Bytes of the whole request, from its first kRequestHeadBytes; 0: it is malformed.
size_t request_bytes(std::span<const std::byte> head);
ArenaRequest decode_arena_request(std::span<const std::byte> whole);
Bytes encode(const ArenaAnswer& answer);
Result<ArenaAnswer> decode_arena_answer(std::span<const std::byte> bytes);

// An address in the abstract name space: a zero byte, then the name; no file. kInvalidArgument: no such name
// can be.
struct UnixAddress {
  sockaddr_un storage{};
  socklen_t length = 0;
};
Result<UnixAddress> abstract_address(const std::string& name);
// A new stream socket, which does not block.
Result<UniqueFd> unix_socket();

}  // namespace comity::control
