// A group of calls as a scope. What a group is stands at comityGroupStart in comity.h.
//
//   comity::Group group;
//   for (auto& comm : comms) comm.all_reduce(...).value();
//   if (auto done = group.end(); !done) ...
#pragma once

#include <utility>

#include "comity/comity.h"
#include "comity/expected.hpp"
#include "comity/handle.hpp"

namespace comity {
inline namespace hpp {

// Of the thread that makes it. A Group that goes without end(), because of an early return or an exception,
// is dropped: nothing of it, nor of the groups around it, is carried out. Groups nest; the outermost end
// counts.
class Group {
 public:
  Group() {
    comityGroupStart();
    ++detail::group_state().depth;
  }
  ~Group() {
    if (!open_) return;
    detail::refuse("a Group went without end(): nothing of it was carried out");
    static_cast<void>(end());
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // Carries out what was collected, and blocks until each call without a stream is complete. Returns the
  // first error: of a call that was refused, in which case nothing is carried out, or of one that failed.
  // Once.
  Expected<void> end() {
    if (!std::exchange(open_, false)) return Error{comityInvalidUsage, "Group::end: this group has ended"};
    Expected<void> ended = detail::checked(comityGroupEnd());
    detail::GroupState& state = detail::group_state();
    if (--state.depth > 0) return ended;
    const auto refused = std::exchange(state.refused, {});
    // What has no owner left is given back here.
    const auto made = std::exchange(state.made, {});
    if (refused && !ended) return *refused;
    return ended;
  }

 private:
  bool open_ = true;
};

}  // namespace hpp
}  // namespace comity
