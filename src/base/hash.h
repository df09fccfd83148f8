// Hashes and random numbers that are equal on every machine and every run. Not cryptographic: what must
// withstand an adversary uses libsodium (handshake.h).
//
//   mix          the finaliser of splitmix64 (Steele, Lea, Flood 2014): each bit moves half of the result's
//   Fnv          FNV-1a of 64 bits (Fowler, Noll, Vo), byte by byte, for texts and mixed content
//   SplitMix     a seeded sequence, for simulations and tests
#pragma once

#include <cstdint>
#include <string_view>

namespace comity {

inline constexpr uint64_t kGoldenRatio = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio, splitmix64's increment

constexpr uint64_t mix(uint64_t a) {
  a += kGoldenRatio;
  a = (a ^ (a >> 30)) * 0xbf58476d1ce4e5b9u;
  a = (a ^ (a >> 27)) * 0x94d049bb133111ebu;
  return a ^ (a >> 31);
}

// Order matters.
constexpr uint64_t mix(uint64_t a, uint64_t b) {
  return mix(mix(a) ^ b);
}

class Fnv {
 public:
  constexpr Fnv& byte(uint8_t value) {
    value_ = (value_ ^ value) * 0x100000001b3u;
    return *this;
  }
  // The characters alone: whoever hashes several texts adds their lengths, or "ab", "c" equals "a", "bc".
  constexpr Fnv& bytes(std::string_view text) {
    for (const char c : text) byte(static_cast<uint8_t>(c));
    return *this;
  }
  // Lowest byte first.
  constexpr Fnv& number(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) byte(static_cast<uint8_t>(value >> shift));
    return *this;
  }
  // Length, then characters.
  constexpr Fnv& text(std::string_view value) { return number(value.size()).bytes(value); }
  constexpr uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

// FNV-1a of one text.
constexpr uint64_t fnv(std::string_view text) {
  return Fnv().bytes(text).value();
}

// The same, mixed: for tables that use some of the bits.
constexpr uint64_t hash_text(std::string_view text) {
  return mix(fnv(text));
}

class SplitMix {
 public:
  explicit constexpr SplitMix(uint64_t seed) : state_(seed) {}
  constexpr uint64_t next() {
    const uint64_t value = mix(state_);
    state_ += kGoldenRatio;
    return value;
  }
  // Uniform (but for the modulo) in 0..most, both included.
  constexpr uint64_t up_to(uint64_t most) { return most == UINT64_MAX ? next() : next() % (most + 1); }
  constexpr bool chance(uint32_t percent) { return next() % 100 < percent; }

 private:
  uint64_t state_;
};

}  // namespace comity
