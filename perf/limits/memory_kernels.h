// The three loops that B_rw is the best of. Sizes are multiples of 64, addresses too.
#pragma once

#include <cstddef>

namespace comity::perf {

// a[i] += b[i] over 64-bit integers.
void add_into(std::byte* a, const std::byte* b, size_t bytes);
// a = b with non-temporal stores, fenced. A plain copy where the instruction set has none.
void copy_past_caches(std::byte* a, const std::byte* b, size_t bytes);
// a = b through ordinary loads and stores (memcpy may decide otherwise above some size).
void copy_through_caches(std::byte* a, const std::byte* b, size_t bytes);

}  // namespace comity::perf
