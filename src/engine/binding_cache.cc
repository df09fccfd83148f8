#include "src/engine/binding_cache.h"

namespace comity::engine {

const Binding* BindingCache::find_behind(uint64_t key, uint32_t slot) {
  const auto found = bindings_.find(key);
  if (found == bindings_.end()) return nullptr;
  found->second.used = ++time_;
  front_[slot % kFront] = {key, found->second.binding.get()};
  return found->second.binding.get();
}

const Binding* BindingCache::add(uint64_t key, uint32_t slot, std::unique_ptr<Binding> binding) {
  const uint64_t bytes = binding->bytes();
  while (!bindings_.empty() && (bindings_.size() >= kMostBindings || bytes_ + bytes > kMostBytes))
    let_one_go();
  const Binding* added = binding.get();
  bytes_ += bytes;
  bindings_.emplace(key, Entry{std::move(binding), ++time_, slot % kFront});
  front_[slot % kFront] = {key, added};
  return added;
}

void BindingCache::let_one_go() {
  auto oldest = bindings_.end();
  bool oldest_in_front = true;
  for (auto each = bindings_.begin(); each != bindings_.end(); ++each) {
    const bool in_front = front_[each->second.slot].key == each->first;
    const bool older = oldest == bindings_.end() || in_front < oldest_in_front ||
                       (in_front == oldest_in_front && each->second.used < oldest->second.used);
    if (!older) continue;
    oldest = each;
    oldest_in_front = in_front;
  }
  if (oldest_in_front) front_[oldest->second.slot] = {};
  bytes_ -= oldest->second.binding->bytes();
  bindings_.erase(oldest);
}

void BindingCache::clear() {
  front_.fill({});
  bindings_.clear();
  bytes_ = 0;
}

}  // namespace comity::engine
