#include "tests/support/spawned_rank.h"

#include <fmt/core.h>

#include <cstddef>

namespace comity::test {

std::string hex_of(const comityUniqueId& id) {
  std::string hex;
  for (const char c : id.internal) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

bool from_hex(const std::string& hex, comityUniqueId& id) {
  if (hex.size() != 2 * sizeof id.internal) return false;
  for (size_t i = 0; i < sizeof id.internal; ++i)
    id.internal[i] = static_cast<char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return true;
}

int be_rank(const comityUniqueId& id, uint32_t nranks, uint32_t rank,
            const std::function<std::string(comityComm_t)>& body) {
  comityComm_t comm = nullptr;
  if (comityCommInitRank(&comm, static_cast<int>(nranks), id, static_cast<int>(rank)) != comitySuccess) {
    fmt::print("init: {}\n", comityGetLastError(nullptr));
    return 1;
  }
  const std::string wrong = body(comm);
  fmt::print("{}\n", wrong);
  return comityCommDestroy(comm) == comitySuccess && wrong.empty() ? 0 : 1;
}

}  // namespace comity::test
