// Hashes by which Plans are compared, in signatures and by people. All cover content: two Plans of one shape
// and other steps have other hashes. 64 bits, equal on every machine; against accidents, not against malice.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/plan/plan.h"

namespace comity::plan {

// Of a Plan that is there whole, as one from a file: all parts, step by step. Pure, time as its size.
uint64_t hash_of(const Plan& plan);

// What a generated Plan's parts are a pure function of.
struct Origin {
  std::string_view generator;  // the algorithm's name
  uint64_t version = 0;        // of the generators: another one may write other steps
  uint64_t topology = 0;       // its hash
  uint32_t root = 0;
  uint64_t block_bytes = 0;
  bool narrow = false;  // for types whose partial results may be rounded
  uint32_t max_lanes = kMaxLanes;
};

// Of a Plan of which a rank has but its own part: every rank knows the same shape and origin, and equal ones
// give equal parts. Never equal to hash_of(Plan) but by accident.
uint64_t hash_of(const Shape& shape, const Origin& origin);

}  // namespace comity::plan
