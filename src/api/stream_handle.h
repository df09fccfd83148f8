// What a comityStream_t and a comityEvent_t point to, and the dispatcher of this process.
#pragma once

#include <memory>

#include "comity/comity.h"
#include "src/api/handle_table.h"
#include "src/engine/stream_dispatcher.h"

struct comityStream {
  static constexpr uint64_t kMagic = 0x6d61657274796d63;
  uint64_t magic = kMagic;
  std::atomic<uint32_t> state{comity::api::kLive};
  int process = 0;                                 // that made it
  std::shared_ptr<comity::engine::Stream> stream;  // under ProcessLock::kHandles
};

struct comityEvent {
  static constexpr uint64_t kMagic = 0x746e657665796d63;
  uint64_t magic = kMagic;
  std::atomic<uint32_t> state{comity::api::kLive};
  int process = 0;
  comity::engine::Mark mark;  // under ProcessLock::kHandles
};

namespace comity::api {

// Made at first use, for as long as the process lives; a child of fork() has its own. Any thread.
engine::StreamDispatcher& dispatcher();

// The core that COMITY_PROGRESS_CPU names for progress threads; -1: any. Errors: of the setting.
Result<int> progress_cpu();

// What the handle stands for. Errors: those of check_small_handle().
Result<std::shared_ptr<engine::Stream>> stream_of(comityStream_t stream, const char* function);
Result<engine::Mark> mark_of(comityEvent_t event, const char* function);

}  // namespace comity::api
