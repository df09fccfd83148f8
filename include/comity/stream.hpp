// Streams and events, owned. What they do stands at comityStreamCreate and its sisters in comity.h.
#pragma once

#include <memory>
#include <utility>

#include "comity/comity.h"
#include "comity/expected.hpp"

namespace comity {
inline namespace hpp {

class Event;

// An ordered queue of calls on memory of the host. Movable; the destructor gives the stream back, and what is
// on it is still carried out. Waiting and asking may be done by any thread, the rest by one at a time.
class Stream {
 public:
  // Does not block. Errors: comitySystemError.
  static Expected<Stream> create() {
    comityStream_t stream = nullptr;
    if (const comityResult_t made = comityStreamCreate(&stream); made != comitySuccess) {
      return detail::error_of(made);
    }
    return Stream(stream);
  }

  // A device's own stream, which outlives this and what is on it: see comityStreamWrap. Does not block.
  // Errors: comityInvalidArgument, comityInvalidUsage, comitySystemError.
  static Expected<Stream> wrap(const char* device, void* native_stream) {
    comityStream_t stream = nullptr;
    if (const comityResult_t made = comityStreamWrap(&stream, device, native_stream); made != comitySuccess) {
      return detail::error_of(made);
    }
    return Stream(stream);
  }

  // Blocks until all that was enqueued before has ended; the first error of a call on it that was not told
  // yet.
  Expected<void> synchronize() { return detail::checked(comityStreamSynchronize(native())); }
  // Whether all that was enqueued has ended. Does not block, and tells no call's error.
  Expected<bool> query() const { return detail::answered(comityStreamQuery(native())); }
  // What is enqueued from now on waits for what `event` marks. Does not block.
  inline Expected<void> wait(const Event& event);
  comityStream_t native() const noexcept { return stream_.get(); }

 private:
  struct Destroy {
    void operator()(comityStream_t stream) const { comityStreamDestroy(stream); }
  };
  explicit Stream(comityStream_t stream) : stream_(stream) {}
  std::unique_ptr<comityStream, Destroy> stream_;
};

// Where a call is ordered: nowhere (the call is complete when it returns), on a Stream, or on a stream of C's
// or of a device's. Not an owner: the stream outlives the call's enqueueing.
class StreamRef {
 public:
  StreamRef() = default;
  StreamRef(const Stream& stream) : native_(stream.native()) {}  // NOLINT: a Stream is given as it is
  explicit StreamRef(comityStream_t stream) : native_(stream) {}
  comityStream_t native() const noexcept { return native_; }

 private:
  comityStream_t native_ = nullptr;
};

// A mark in a stream's work. Movable; the destructor gives it back, also while a stream waits for it.
class Event {
 public:
  // Does not block. Errors: comitySystemError.
  static Expected<Event> create() {
    comityEvent_t event = nullptr;
    if (const comityResult_t made = comityEventCreate(&event); made != comitySuccess) {
      return detail::error_of(made);
    }
    return Event(event);
  }

  // Marks all that is on `stream` now; the earlier mark is forgotten. Does not block.
  Expected<void> record(const Stream& stream) {
    return detail::checked(comityEventRecord(native(), stream.native()));
  }
  // Whether what it marks has ended; true if it was never recorded. Does not block.
  Expected<bool> query() const { return detail::answered(comityEventQuery(native())); }
  // Blocks until what it marks has ended.
  Expected<void> synchronize() const { return detail::checked(comityEventSynchronize(native())); }
  comityEvent_t native() const noexcept { return event_.get(); }

 private:
  struct Destroy {
    void operator()(comityEvent_t event) const { comityEventDestroy(event); }
  };
  explicit Event(comityEvent_t event) : event_(event) {}
  std::unique_ptr<comityEvent, Destroy> event_;
};

inline Expected<void> Stream::wait(const Event& event) {
  return detail::checked(comityStreamWaitEvent(native(), event.native()));
}

}  // namespace hpp
}  // namespace comity
