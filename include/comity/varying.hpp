// The calls whose blocks have lengths of their own. Counts and displacements are in elements, one for each
// rank; no displacements: each block begins where the one before ends.
#pragma once

#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <utility>

#include "comity/collectives.hpp"
#include "comity/comity.h"
#include "comity/expected.hpp"
#include "comity/operation.hpp"
#include "comity/stream.hpp"
#include "comity/types.hpp"

namespace comity {
inline namespace hpp {

// How memory is cut into blocks. Looks at memory of the caller's, which the call has read when it returns.
struct Blocks {
  std::span<const std::size_t> counts;
  std::span<const std::size_t> displs = {};  // empty: contiguous

  const std::size_t* native_displs() const { return displs.empty() ? nullptr : displs.data(); }
};

class VaryingCollectives : public Collectives {
 public:
  // Block r of every rank's recv = send of rank r. `layout` cuts recv; its counts are equal on all ranks.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> all_gather_v(S&& send, R&& recv, Blocks layout,
                                                          StreamRef stream = {}) {
    if (auto fits = lie_in("all_gather_v: recv", layout, size(recv)); !fits) return fits;
    if (auto fits = own_block("all_gather_v: send", layout, rank(), size(send)); !fits) return fits;
    return told(comityAllGatherV(std::ranges::data(send), std::ranges::data(recv), layout.counts.data(),
                                 layout.native_displs(), detail::type_of<R>, native(), stream.native()));
  }

  // recv of rank r = op over all ranks of block r of send. `layout` cuts send; its counts are equal on all
  // ranks.
  template <Source S, Target R>
  requires SameElements<S, R> && Reducible<R> Expected<void> reduce_scatter_v(
      S&& send, R&& recv, Blocks layout, OpOf<std::ranges::range_value_t<R>> op = Op::sum,
      StreamRef stream = {}) {
    if (auto fits = lie_in("reduce_scatter_v: send", layout, size(send)); !fits) return fits;
    if (auto fits = own_block("reduce_scatter_v: recv", layout, rank(), size(recv)); !fits) return fits;
    return told(comityReduceScatterV(std::ranges::data(send), std::ranges::data(recv), layout.counts.data(),
                                     layout.native_displs(), detail::type_of<R>, op.native(), native(),
                                     stream.native()));
  }

  // Block s of rank r's recv = block r of rank s's send. The two do not overlap.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> all_to_all_v(S&& send, Blocks send_layout, R&& recv,
                                                          Blocks recv_layout, StreamRef stream = {}) {
    if (auto fits = lie_in("all_to_all_v: send", send_layout, size(send)); !fits) return fits;
    if (auto fits = lie_in("all_to_all_v: recv", recv_layout, size(recv)); !fits) return fits;
    return told(comityAlltoAllV(std::ranges::data(send), send_layout.counts.data(),
                                send_layout.native_displs(), std::ranges::data(recv),
                                recv_layout.counts.data(), recv_layout.native_displs(), detail::type_of<R>,
                                native(), stream.native()));
  }

  // Block r of the root's recv = send of rank r. `layout` cuts recv, and is the root's alone.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> gather_v(S&& send, R&& recv, Blocks layout, int root,
                                                      StreamRef stream = {}) {
    if (rank() == root) {
      if (auto fits = lie_in("gather_v: recv", layout, size(recv)); !fits) return fits;
    }
    return told(comityGatherV(std::ranges::data(send), size(send), std::ranges::data(recv),
                              layout.counts.data(), layout.native_displs(), detail::type_of<R>, root,
                              native(), stream.native()));
  }

  // recv of rank r = block r of the root's send. `layout` cuts send, and is the root's alone.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> scatter_v(S&& send, Blocks layout, R&& recv, int root,
                                                       StreamRef stream = {}) {
    if (rank() == root) {
      if (auto fits = lie_in("scatter_v: send", layout, size(send)); !fits) return fits;
    }
    return told(comityScatterV(std::ranges::data(send), layout.counts.data(), layout.native_displs(),
                               std::ranges::data(recv), size(recv), detail::type_of<R>, root, native(),
                               stream.native()));
  }

 protected:
  VaryingCollectives() = default;
  explicit VaryingCollectives(std::shared_ptr<detail::Handle> handle) : Collectives(std::move(handle)) {}

 private:
  // There is a count for each rank, and every block lies within `whole` elements.
  Expected<void> lie_in(const char* what, const Blocks& layout, std::size_t whole) const {
    const std::size_t ranks = count_of_ranks();
    if (layout.counts.size() != ranks || (!layout.displs.empty() && layout.displs.size() != ranks)) {
      return detail::refuse(std::string(what) + " has " + std::to_string(layout.counts.size()) +
                            " counts and " + std::to_string(layout.displs.size()) +
                            " displacements; one for each of " + std::to_string(ranks) +
                            " ranks are needed (no displacements: contiguous)");
    }
    std::size_t next = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::size_t begin = layout.displs.empty() ? next : layout.displs[r];
      const std::size_t count = layout.counts[r];
      if (count > 0 && (begin > whole || count > whole - begin)) {
        return detail::refuse(std::string(what) + " holds " + std::to_string(whole) +
                              " elements, and block " + std::to_string(r) + " of " + std::to_string(count) +
                              " begins at " + std::to_string(begin));
      }
      next = begin + count;
    }
    return {};
  }

  static Expected<void> own_block(const char* what, const Blocks& layout, int rank, std::size_t size) {
    if (rank < 0 || layout.counts[static_cast<std::size_t>(rank)] == size) return {};
    return detail::refuse(std::string(what) + " holds " + std::to_string(size) + " elements, and block " +
                          std::to_string(rank) + " has " +
                          std::to_string(layout.counts[static_cast<std::size_t>(rank)]));
  }
};

}  // namespace hpp
}  // namespace comity
