// COMITY_SECRET_FILE: a secret that every rank reads from a file, so that no launcher need keep one.
//
// With it the id that travels through a launcher or lies in a file holds a random number in its secret's
// place, and the real secret is a keyed hash of that number under the file's. Without the file nobody can
// join.
#pragma once

#include <optional>
#include <string_view>

#include "comity/plugin/result.h"
#include "src/base/handshake.h"
#include "src/base/settings.h"
#include "src/control/control.h"

namespace comity::launch {

// The hash of the content of COMITY_SECRET_FILE; nothing if that is unset. Blocks as reading does.
// kInvalidUsage: it is not this user's, others may read it, or it is too short; says what to do.
// kSystemError.
Result<std::optional<Secret>> read_secret(const Settings& settings);

// A new meeting point of this process: its id, and the id as it may travel. Without a secret both are one.
struct NewId {
  control::UniqueId real{};
  control::UniqueId travelling{};
};
Result<NewId> create_id(const std::optional<Secret>& secret);
// The real id from one that travelled. kInvalidArgument: damaged.
Result<control::UniqueId> real_id(const control::UniqueId& travelling, const std::optional<Secret>& secret);

}  // namespace comity::launch
