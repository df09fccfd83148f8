// Comity for C++20: owners, types and errors as values over the functions of comity.h, header-only. A program
// links libcomity and nothing else.
//
//   auto comm = comity::Communicator::init(nranks, id, rank);   // or init_env(): what the launcher says
//   if (!comm) return complain(comm.error().message);
//   std::vector<float> x = ...;
//   if (auto done = comm->all_reduce(x); !done) return complain(done.error().message);
//   comm->broadcast(std::span(x).first(3), 0).value();          // value() throws where there is an error
//
// What each call does, blocks for and returns stands at the C function of its name. What is new:
//   Errors   Every call returns an Expected, which must be looked at: expected.hpp.
//   Types    A call takes any contiguous range of an Element; a wrong type does not compile: types.hpp.
//   Sizes    are those of the ranges, and are checked before the call: collectives.hpp, varying.hpp.
//   Owners   Communicator, Stream, Event, Buffer, Registration, PreMulSum give back what they hold; movable,
//            not copyable. A communicator may go before what was made with it.
//   Groups   are scopes: group.hpp.
#pragma once

#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comity/collectives.hpp"
#include "comity/comity.h"
#include "comity/config.hpp"
#include "comity/expected.hpp"
#include "comity/group.hpp"
#include "comity/handle.hpp"
#include "comity/memory.hpp"
#include "comity/operation.hpp"
#include "comity/stream.hpp"
#include "comity/types.hpp"
#include "comity/varying.hpp"

namespace comity {
inline namespace hpp {

// A new id, to be passed to all ranks; the process must live until all have joined. See comityGetUniqueId.
inline Expected<comityUniqueId> unique_id() {
  comityUniqueId id;
  if (const comityResult_t made = comityGetUniqueId(&id); made != comitySuccess)
    return detail::error_of(made);
  return id;
}

// The library's COMITY_VERSION_CODE; that of the headers is the macro.
inline int library_version() {
  int version = 0;
  comityGetVersion(&version);
  return version;
}

// One rank's membership. The destructor leaves in order, as comityCommDestroy does. One thread at a time, but
// for abort, async_state, rank, nranks and native, which any thread may call while the object lives.
class Communicator : public VaryingCollectives {
 public:
  // None: calls on it are comityInvalidArgument.
  Communicator() = default;
  // Takes over a handle of C's.
  explicit Communicator(comityComm_t comm) : VaryingCollectives(std::make_shared<detail::Handle>(comm)) {}
  Communicator(Communicator&&) noexcept = default;
  Communicator& operator=(Communicator&&) noexcept = default;

  // Joins as rank `rank` of `nranks`; see comityCommInitRankConfig. Inside a Group it is made at the group's
  // end, and is none if that fails. Not blocking: ask async_state.
  static Expected<Communicator> init(int nranks, const comityUniqueId& id, int rank) {
    return made([&](comityComm_t* comm) { return comityCommInitRank(comm, nranks, id, rank); });
  }
  static Expected<Communicator> init(int nranks, const comityUniqueId& id, int rank, const Config& config) {
    comityConfig_t native = config.native();
    return made(
        [&](comityComm_t* comm) { return comityCommInitRankConfig(comm, nranks, id, rank, &native); });
  }

  // Joins what the launcher started this process for; see comityCommInitEnv.
  static Expected<Communicator> init_env() {
    return made([](comityComm_t* comm) { return comityCommInitEnv(comm); });
  }

  // All ranks in this process, rank i on device devices[i], or i where there are none; see comityCommInitAll.
  // Inside a Group they are made at the group's end, and are none if that fails.
  static Expected<std::vector<Communicator>> init_all(int nranks, std::span<const int> devices = {}) {
    if (nranks < 1 || (!devices.empty() && devices.size() != static_cast<std::size_t>(nranks))) {
      return detail::refuse("init_all: " + std::to_string(nranks) + " ranks and " +
                            std::to_string(devices.size()) + " devices; one for each rank, or none");
    }
    if (detail::group_state().depth > 0) return init_all_later(nranks, devices);
    std::vector<comityComm_t> comms(static_cast<std::size_t>(nranks), COMITY_COMM_NULL);
    const int* list = devices.empty() ? nullptr : devices.data();
    if (const comityResult_t result = comityCommInitAll(comms.data(), nranks, list);
        result != comitySuccess) {
      return detail::error_of(result);
    }
    std::vector<Communicator> owners;
    for (const comityComm_t comm : comms) owners.emplace_back(comm);
    return owners;
  }

  // A communicator of the ranks that give this colour, numbered by key; none (false) for
  // COMITY_SPLIT_NOCOLOR. Collective; inside a Group it is made at the group's end; of one that does not
  // block it goes on behind the caller's back: ask async_state of the new one, or of this one. See
  // comityCommSplit.
  Expected<Communicator> split(int color, int key) {
    return made([&](comityComm_t* comm) { return comityCommSplit(native(), color, key, comm, nullptr); });
  }
  Expected<Communicator> split(int color, int key, const Config& config) {
    comityConfig_t other = config.native();
    return made([&](comityComm_t* comm) { return comityCommSplit(native(), color, key, comm, &other); });
  }

  // Whether there is one.
  explicit operator bool() const { return native() != COMITY_COMM_NULL; }

  // Completes what was begun and waits for every rank; see comityCommFinalize.
  Expected<void> finalize() { return told(comityCommFinalize(native())); }
  // What the destructor does, with the error. Afterwards calls on it are comityInvalidArgument.
  Expected<void> destroy() { return handle_ == nullptr ? Expected<void>() : handle_->destroy(); }
  // Ends it at once, from any thread; see comityCommAbort.
  Expected<void> abort() { return handle_ == nullptr ? Expected<void>() : handle_->abort(); }

  // true: all is well; false: init, split, finalize or a call is still in progress; else the error that the
  // communicator has come to. Does not block.
  Expected<bool> async_state() const {
    comityResult_t state = comitySuccess;
    if (const comityResult_t asked = comityCommGetAsyncError(native(), &state); asked != comitySuccess) {
      return detail::error_of(asked);
    }
    if (state == comitySuccess || state == comityInProgress) return state == comitySuccess;
    return detail::error_of(state, native());
  }

  // Tells that `memory`, the caller's own, will be used again and again; see comityCommRegister.
  template <Target R>
  Expected<Registration<std::ranges::range_value_t<R>>> register_memory(R&& memory) {
    using T = std::ranges::range_value_t<R>;
    const std::span<T> span(std::ranges::data(memory), size(memory));
    void* handle = nullptr;
    const comityResult_t result = comityCommRegister(native(), span.data(), span.size_bytes(), &handle);
    if (result != comitySuccess) return detail::error_of(result, native());
    return Registration<T>(handle_, span, handle);
  }

  // A sum of inputs, this rank's multiplied by `scalar`, for calls on elements of type T.
  template <Number T>
  Expected<PreMulSum<T>> pre_mul_sum(T scalar) {
    comityRedOp_t op = comitySum;
    const comityResult_t result =
        comityRedOpCreatePreMulSum(&op, &scalar, ElementType<T>::value, comityScalarHostImmediate, native());
    if (result != comitySuccess) return detail::error_of(result, native());
    return PreMulSum<T>(handle_, op);
  }

 private:
  explicit Communicator(std::shared_ptr<detail::Handle> handle) : VaryingCollectives(std::move(handle)) {}

  // What comityCommInitAll does inside a group, into handles that stay where they are.
  static Expected<std::vector<Communicator>> init_all_later(int nranks, std::span<const int> devices) {
    for (const int device : devices)
      if (device < 0) return detail::refuse("init_all: device " + std::to_string(device));
    const Expected<comityUniqueId> id = unique_id();
    if (!id) return id.error();
    std::vector<Communicator> owners;
    for (int rank = 0; rank < nranks; ++rank) {
      Expected<Communicator> one = init(nranks, *id, rank);
      if (!one) return one.error();
      owners.push_back(std::move(*one));
    }
    return owners;
  }

  // make(address) writes a handle, at once or, inside a group, at the group's end.
  template <typename Make>
  static Expected<Communicator> made(Make make) {
    auto handle = std::make_shared<detail::Handle>();
    const comityResult_t result = make(handle->address());
    if (result != comitySuccess && result != comityInProgress) return detail::error_of(result);
    detail::GroupState& group = detail::group_state();
    if (group.depth > 0) group.made.push_back(handle);
    return Communicator(std::move(handle));
  }
};

}  // namespace hpp
}  // namespace comity
