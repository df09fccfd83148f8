// Mixing of 64-bit words (the finaliser of splitmix64: Steele, Lea, Flood 2014). Not cryptographic.
#pragma once

#include <cstdint>
#include <string_view>

namespace comity {

constexpr uint64_t mix(uint64_t a) {
  a += 0x9e3779b97f4a7c15u;
  a = (a ^ (a >> 30)) * 0xbf58476d1ce4e5b9u;
  a = (a ^ (a >> 27)) * 0x94d049bb133111ebu;
  return a ^ (a >> 31);
}

// Order matters.
constexpr uint64_t mix(uint64_t a, uint64_t b) {
  return mix(mix(a) ^ b);
}

// FNV-1a, then mixed.
constexpr uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mix(hash);
}

}  // namespace comity
