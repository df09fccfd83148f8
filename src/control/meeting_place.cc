// Where ranks meet: meeting points that this process opens, and those that it looks for.
#include <fmt/core.h>
#include <time.h>

#include <memory>
#include <utility>

#include "src/base/log.h"
#include "src/control/acceptor.h"
#include "src/control/control.h"
#include "src/control/farewell.h"
#include "src/control/loop.h"
#include "src/control/meeting.h"
#include "src/control/unique_id.h"

namespace comity::control {
namespace {

constexpr timespec kNap{0, 50'000'000};

// Serves the meeting behind `listeners` from now on.
Result<UniqueId> open_meeting(Listeners listeners, const Secret& secret) {
  IdContent content;
  content.addresses = listeners.addresses;
  content.left_out = listeners.left_out;
  content.secret = secret;
  Loop& loop = Loop::instance();
  const auto carried = std::make_shared<Listeners>(std::move(listeners));
  const bool posted = loop.post([&loop, carried, secret = content.secret] {
    Meeting::open(loop, std::move(carried->sockets), secret);
  });
  if (!posted) return Loop::not_running();
  return encode_id(content);
}

Status taken(const MeetingPlace& place, const std::vector<SocketAddress>& where, const Found& holder) {
  std::string at;
  for (const SocketAddress& address : where) at += (at.empty() ? "" : ", ") + address.text();
  const bool ours = holder.who == Found::Who::kMeeting || holder.who == Found::Who::kFailed;
  const std::string whose =
      ours ? "by a meeting point with the same secret: an earlier run of this job has not ended, or two of "
             "its ranks 0 were started"
           : fmt::format("by another job, an earlier run that has not ended, or another program{}{}",
                         holder.what.empty() ? "" : "; it says: ", holder.what);
  return Status(
      Code::kSystemError,
      fmt::format("port {0} is taken ({1}) {2}; choose another port on all ranks, or end what holds "
                  "it (`ss -ltnp 'sport = :{0}'` shows it)",
                  place.port, at, whose));
}

// Ranks that look at an address which another program does not hold hear why; what they ask for is served
// until they have, or for a minute.
void tell_those_who_come(Listeners listeners, const MeetingPlace& place, const Status& why) {
  if (listeners.sockets.empty()) return;
  const auto id = open_meeting(std::move(listeners), place.secret);
  if (id.ok()) static_cast<void>(give_up_joining(*id, 0, place.nranks, why));
}

Result<UniqueId> open_at_port(const MeetingPlace& place, const Settings& settings) {
  bool waits = false;
  while (true) {
    COMITY_ASSIGN_OR_RETURN(Listeners listeners, open_listeners_at(settings, place.port, place.also));
    if (listeners.taken.empty()) return open_meeting(std::move(listeners), place.secret);
    const UniqueId theirs = unique_id_at({listeners.taken.front()}, place.secret);  // else slow where silent
    const Found holder = look_for_meeting(theirs, 0);
    // A meeting that works, of the same name, gets ranks of this job, and nobody could tell whose are whose.
    const bool mixed = holder.who == Found::Who::kMeeting;
    if (mixed || place.patience.passed()) {
      Status why = taken(place, listeners.taken, holder);
      if (mixed) static_cast<void>(give_up_joining(theirs, 0, place.nranks, why));
      tell_those_who_come(std::move(listeners), place, why);
      return why;
    }
    if (!std::exchange(waits, true)) COMITY_LOG_INFO("port {} is taken; waiting for it", place.port);
    listeners = {};
    ::nanosleep(&kNap, nullptr);
  }
}

}  // namespace

Result<UniqueId> create_unique_id() {
  MeetingPlace place;
  random_bytes(place.secret.data(), place.secret.size());
  return create_unique_id_at(place);
}

Result<UniqueId> create_unique_id_at(const MeetingPlace& place) {
  COMITY_ASSIGN_OR_RETURN(const Settings settings, Settings::read());
  if (place.port != 0) return open_at_port(place, settings);
  COMITY_ASSIGN_OR_RETURN(Listeners listeners, open_listeners(settings, true));
  return open_meeting(std::move(listeners), place.secret);
}

UniqueId unique_id_at(const std::vector<SocketAddress>& addresses, const Secret& secret) {
  IdContent content;
  content.addresses = addresses;
  content.secret = secret;
  return encode_id(content);
}

Found look_for_meeting(const UniqueId& id, uint32_t rank) {
  const auto content = decode_id(id);
  return content.ok() ? find_meeting(*content, rank) : Found{};
}

}  // namespace comity::control
