// The shapes and busbw factors that several collectives share.
#pragma once

#include <cstddef>

#include "perf/core/collective.h"

namespace comity::perf {

// Both buffers are of the row's size.
inline Shape whole_shape(size_t elements, int /*nranks*/) {
  return {elements, elements, elements};
}

// A block goes in, a block for each rank comes out.
inline Shape gathered_shape(size_t elements, int nranks) {
  const size_t block = elements / static_cast<size_t>(nranks);
  return {block, block * static_cast<size_t>(nranks), block};
}

// A block for each rank goes in, a block comes out.
inline Shape scattered_shape(size_t elements, int nranks) {
  const size_t block = elements / static_cast<size_t>(nranks);
  return {block * static_cast<size_t>(nranks), block, block};
}

// All of the size moves.
inline double whole_factor(int /*nranks*/) {
  return 1;
}

// A rank's own block stays where it is.
inline double others_factor(int nranks) {
  return (nranks - 1.0) / nranks;
}

}  // namespace comity::perf
