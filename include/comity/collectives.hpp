// The calls whose blocks have one length, and Send and Recv, on typed memory.
//
// Each is the C function of its name, whose contract stands in comity.h: who waits for whom, what is in
// place, which errors there are. Sizes are checked here, before the call: where they do not fit, it is
// comityInvalidArgument, nothing happened, and a Group that holds the call will not be carried out. A rank
// that a call takes nothing from, or gives nothing to, passes any range, an empty one too.
//
// Without a stream, a success says that the call is complete (inside a Group: that it is collected; on a
// communicator that is not blocking: that it was begun). With one: that it is enqueued.
#pragma once

#include <cstddef>
#include <memory>
#include <ranges>
#include <string>
#include <utility>

#include "comity/comity.h"
#include "comity/expected.hpp"
#include "comity/handle.hpp"
#include "comity/operation.hpp"
#include "comity/stream.hpp"
#include "comity/types.hpp"

namespace comity {
inline namespace hpp {

class Collectives {
 public:
  // recv[i] = op over all ranks of send[i], on every rank. Of equal sizes; in place: the same memory.
  template <Source S, Target R>
  requires SameElements<S, R> && Reducible<R> Expected<void> all_reduce(
      S&& send, R&& recv, OpOf<std::ranges::range_value_t<R>> op = Op::sum, StreamRef stream = {}) {
    if (auto fits = equal("all_reduce", size(send), size(recv)); !fits) return fits;
    return told(comityAllReduce(std::ranges::data(send), std::ranges::data(recv), size(send),
                                detail::type_of<R>, op.native(), native(), stream.native()));
  }
  template <Target R>
  requires Reducible<R> Expected<void> all_reduce(R&& in_place,
                                                  OpOf<std::ranges::range_value_t<R>> op = Op::sum,
                                                  StreamRef stream = {}) {
    return all_reduce(in_place, in_place, op, stream);
  }

  // recv[i] = op over all ranks of send[i], on `root` alone.
  template <Source S, Target R>
  requires SameElements<S, R> && Reducible<R> Expected<void> reduce(S&& send, R&& recv,
                                                                    OpOf<std::ranges::range_value_t<R>> op,
                                                                    int root, StreamRef stream = {}) {
    if (auto fits = equal("reduce", size(send), rank() == root ? size(recv) : size(send)); !fits) return fits;
    return told(comityReduce(std::ranges::data(send), std::ranges::data(recv), size(send), detail::type_of<R>,
                             op.native(), root, native(), stream.native()));
  }

  // recv of every rank = send of `root`. The size is recv's on every rank.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> broadcast(S&& send, R&& recv, int root, StreamRef stream = {}) {
    if (auto fits = equal("broadcast", rank() == root ? size(send) : size(recv), size(recv)); !fits)
      return fits;
    return told(comityBroadcast(std::ranges::data(send), std::ranges::data(recv), size(recv),
                                detail::type_of<R>, root, native(), stream.native()));
  }
  template <Target R>
  Expected<void> broadcast(R&& in_place, int root, StreamRef stream = {}) {
    return told(comityBcast(std::ranges::data(in_place), size(in_place), detail::type_of<R>, root, native(),
                            stream.native()));
  }

  // Block r of every rank's recv = send of rank r.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> all_gather(S&& send, R&& recv, StreamRef stream = {}) {
    if (auto fits = blocks("all_gather", size(recv), size(send)); !fits) return fits;
    return told(comityAllGather(std::ranges::data(send), std::ranges::data(recv), size(send),
                                detail::type_of<R>, native(), stream.native()));
  }

  // recv of rank r = op over all ranks of block r of send.
  template <Source S, Target R>
  requires SameElements<S, R> && Reducible<R> Expected<void> reduce_scatter(
      S&& send, R&& recv, OpOf<std::ranges::range_value_t<R>> op = Op::sum, StreamRef stream = {}) {
    if (auto fits = blocks("reduce_scatter", size(send), size(recv)); !fits) return fits;
    return told(comityReduceScatter(std::ranges::data(send), std::ranges::data(recv), size(recv),
                                    detail::type_of<R>, op.native(), native(), stream.native()));
  }

  // Block s of rank r's recv = block r of rank s's send. The two do not overlap.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> all_to_all(S&& send, R&& recv, StreamRef stream = {}) {
    if (auto fits = equal("all_to_all", size(send), size(recv)); !fits) return fits;
    const std::size_t block = size(send) / count_of_ranks();
    if (auto fits = blocks("all_to_all", size(send), block); !fits) return fits;
    return told(comityAlltoAll(std::ranges::data(send), std::ranges::data(recv), block, detail::type_of<R>,
                               native(), stream.native()));
  }

  // Block r of the root's recv = send of rank r.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> gather(S&& send, R&& recv, int root, StreamRef stream = {}) {
    if (rank() == root) {
      if (auto fits = blocks("gather", size(recv), size(send)); !fits) return fits;
    }
    return told(comityGather(std::ranges::data(send), std::ranges::data(recv), size(send), detail::type_of<R>,
                             root, native(), stream.native()));
  }

  // recv of rank r = block r of the root's send.
  template <Source S, Target R>
  requires SameElements<S, R> Expected<void> scatter(S&& send, R&& recv, int root, StreamRef stream = {}) {
    if (rank() == root) {
      if (auto fits = blocks("scatter", size(send), size(recv)); !fits) return fits;
    }
    return told(comityScatter(std::ranges::data(send), std::ranges::data(recv), size(recv),
                              detail::type_of<R>, root, native(), stream.native()));
  }

  // Completes on no rank before every rank has called it.
  Expected<void> barrier(StreamRef stream = {}) { return told(comityBarrier(native(), stream.native())); }

  // The n-th send of rank s to rank r meets the n-th recv of r from s; both of one size and type.
  template <Source S>
  Expected<void> send(S&& data, int peer, StreamRef stream = {}) {
    return told(
        comitySend(std::ranges::data(data), size(data), detail::type_of<S>, peer, native(), stream.native()));
  }
  template <Target R>
  Expected<void> recv(R&& data, int peer, StreamRef stream = {}) {
    return told(
        comityRecv(std::ranges::data(data), size(data), detail::type_of<R>, peer, native(), stream.native()));
  }

  // This rank, and how many there are; -1 for a communicator that is none, or not made yet. Any thread, do
  // not block.
  int rank() const { return handle_ == nullptr ? -1 : handle_->rank(); }
  int nranks() const { return handle_ == nullptr ? -1 : handle_->nranks(); }
  // The C handle, still owned by this. COMITY_COMM_NULL where there is none.
  comityComm_t native() const { return handle_ == nullptr ? COMITY_COMM_NULL : handle_->comm(); }

 protected:
  Collectives() = default;
  explicit Collectives(std::shared_ptr<detail::Handle> handle) : handle_(std::move(handle)) {}

  template <typename R>
  static std::size_t size(R& range) {
    return static_cast<std::size_t>(std::ranges::size(range));
  }
  // At least 1, so that it divides; the C call refuses a communicator without ranks.
  std::size_t count_of_ranks() const { return nranks() < 1 ? 1 : static_cast<std::size_t>(nranks()); }
  Expected<void> told(comityResult_t result) const { return detail::checked(result, native()); }

  static Expected<void> equal(const char* call, std::size_t send, std::size_t recv) {
    if (send == recv) return {};
    return detail::refuse(std::string(call) + ": send holds " + std::to_string(send) + " elements, recv " +
                          std::to_string(recv) + "; they must be equally long");
  }
  // `whole` must be a `block` for each rank.
  Expected<void> blocks(const char* call, std::size_t whole, std::size_t block) const {
    const std::size_t ranks = count_of_ranks();
    if (whole / ranks == block && whole % ranks == 0) return {};
    return detail::refuse(std::string(call) + ": " + std::to_string(whole) + " elements are not " +
                          std::to_string(ranks) + " blocks of " + std::to_string(block) +
                          ", one for each rank");
  }

  std::shared_ptr<detail::Handle> handle_;
};

}  // namespace hpp
}  // namespace comity
