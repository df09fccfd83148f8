#include "src/control/descriptor_wire.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "src/base/errno_text.h"

namespace comity::control {
namespace {

constexpr size_t kMostTextBytes = 1024;

void put_arenas(ByteWriter& writer, std::span<const uint32_t> arenas) {
  const auto count = static_cast<uint32_t>(std::min<size_t>(arenas.size(), kMostHeld));
  writer.put(count);
  for (const uint32_t arena : arenas.first(count)) writer.put(arena);
}

std::vector<uint32_t> get_arenas(ByteReader& reader) {
  std::vector<uint32_t> arenas;
  const auto count = reader.get<uint32_t>();
  for (uint32_t i = 0; i < std::min(count, kMostHeld) && reader.ok(); ++i)
    arenas.push_back(reader.get<uint32_t>());
  return arenas;
}

}  // namespace

Bytes encode(const ArenaRequest& request) {
  ByteWriter writer;
  writer.put(request.arena);
  put_arenas(writer, request.held);
  return writer.take();
}

size_t request_bytes(std::span<const std::byte> head) {
  ByteReader reader(head);
  static_cast<void>(reader.get<uint32_t>());
  const auto count = reader.get<uint32_t>();
  return reader.ok() && count <= kMostHeld ? kRequestHeadBytes + count * sizeof(uint32_t) : 0;
}

ArenaRequest decode_arena_request(std::span<const std::byte> whole) {
  ByteReader reader(whole);
  const auto arena = reader.get<uint32_t>();
  return {arena, get_arenas(reader)};
}

Bytes encode(const ArenaAnswer& answer) {
  ByteWriter writer;
  writer.put(static_cast<uint8_t>(answer.status.code()));
  writer.put_text(answer.status.message().substr(0, kMostTextBytes));
  put_arenas(writer, answer.gone);
  return writer.take();
}

Result<ArenaAnswer> decode_arena_answer(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const auto code = reader.get<uint8_t>();
  const std::string text = reader.get_text();
  ArenaAnswer answer;
  answer.gone = get_arenas(reader);
  if (!reader.ok() || reader.left() != 0 || code > static_cast<uint8_t>(Code::kUnsupported)) {
    return Status(Code::kRemoteError, "the process that owns the memory sent a malformed answer");
  }
  if (code != 0)
    answer.status = Status(static_cast<Code>(code), "the process that owns the memory refuses: " + text);
  return answer;
}

Result<UnixAddress> abstract_address(const std::string& name) {
  UnixAddress address;
  if (name.empty() || name.size() + 1 > sizeof(address.storage.sun_path)) {
    return Status(Code::kInvalidArgument, fmt::format("\"{}\" is not the name of a descriptor socket", name));
  }
  address.storage.sun_family = AF_UNIX;
  std::memcpy(address.storage.sun_path + 1, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Result<UniqueFd> unix_socket() {
  UniqueFd fd = open_fd([] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
  if (fd.valid()) return fd;
  return Status(Code::kSystemError, fmt::format("cannot open a local socket: {}", errno_text(errno)));
}

}  // namespace comity::control
