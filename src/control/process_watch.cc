#include "src/control/process_watch.h"

#include <sys/epoll.h>

#include <utility>

#include "src/base/log.h"

namespace comity::control {

ProcessWatch::ProcessWatch(Loop& loop, Ended ended)
    : loop_(loop), ended_(std::move(ended)), self_(loop.process()) {}

std::shared_ptr<ProcessWatch> ProcessWatch::start(Loop& loop, Ended ended) {
  return std::shared_ptr<ProcessWatch>(new ProcessWatch(loop, std::move(ended)));
}

void ProcessWatch::watch(uint32_t rank, const ProcessName& process) {
  if (process == self_ || watched_.contains(rank)) return;
  auto opened = loop_.open_process(process);
  if (!opened.ok() && opened.status().code() != Code::kRemoteError) {
    COMITY_LOG_DEBUG("the process of rank {} is not watched: {}", rank, opened.status().message());
    return;
  }
  Watched& watched = watched_[rank];
  const auto self = shared_from_this();
  if (!opened.ok()) return on_end(rank);
  watched.process = std::move(*opened);
  watched.watch = loop_.watch(*watched.process, EPOLLIN, [self, rank](uint32_t) { self->on_end(rank); });
}

void ProcessWatch::on_end(uint32_t rank) {
  const auto self = shared_from_this();
  Watched& watched = watched_[rank];
  loop_.unwatch(std::exchange(watched.watch, 0));
  watched.process.reset();
  watched.timer = loop_.after_ms(kLastWordsMs, [self, rank] {
    self->watched_[rank].timer = 0;
    if (const Ended ended = self->ended_) ended(rank);
  });
}

void ProcessWatch::stop() {
  ended_ = nullptr;
  for (auto& [rank, watched] : watched_) {
    loop_.unwatch(watched.watch);
    loop_.cancel(watched.timer);
  }
  watched_.clear();
}

}  // namespace comity::control
