#include "src/api/launch/known_host.h"

#include <fmt/core.h>
#include <netdb.h>
#include <sys/utsname.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "src/api/launch/secret_file.h"
#include "src/base/bytes.h"
#include "src/base/errno_text.h"
#include "src/base/socket.h"

namespace comity::launch {
namespace {

constexpr timespec kNap{0, 20'000'000};
// An earlier run may be about to end. The others are patient for longer (KnownHost) than rank 0, which knows
// more.
constexpr int kPortFreeWithinMs = 3000;

// Of this process; each communicator has a secret of its own, the n-th of the same number on all ranks.
uint32_t communicators_met = 0;

Secret secret_of_job(const Secret& file, const std::string& job, uint32_t number) {
  ByteWriter writer;
  writer.put(file).put_text(job).put(number);
  const auto hash = hash_of(writer.bytes());
  Secret secret{};
  std::memcpy(secret.data(), hash.data(), secret.size());
  return derive_secret(secret, "comity id of a known host");
}

// All addresses of a name, without ports. The resolver's words on failure.
Result<std::vector<SocketAddress>> resolve(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::string name = bracketed ? host.substr(1, host.size() - 2) : host;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &found); error != 0)
    return Status(Code::kSystemError, error == EAI_SYSTEM ? errno_text(errno) : gai_strerror(error));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress address;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

bool names_this_host(const std::string& host) {
  utsname system{};
  if (uname(&system) != 0) return false;
  const std::string own = system.nodename;
  return host == own || host.substr(0, host.find('.')) == own || own.substr(0, own.find('.')) == host;
}

class KnownHostLauncher final : public Launcher {
 public:
  KnownHostLauncher(Place place, const KnownHost& known, const Settings& settings, const Secret& secret,
                    uint16_t port)
      : Launcher(place), known_(known), settings_(settings), secret_(secret), port_(port) {}
  const char* name() const override { return known_.launcher; }

  Result<control::UniqueId> meet(const Deadline& deadline) override {
    const Secret secret = secret_of_job(secret_, known_.job, communicators_met++);
    return place().rank == 0 ? open(secret, deadline) : find(secret, deadline);
  }

 private:
  Result<control::UniqueId> open(const Secret& secret, const Deadline& deadline) const {
    control::MeetingPlace meeting;
    meeting.secret = secret;
    meeting.port = port_;
    meeting.nranks = place().nranks;
    meeting.patience = within(deadline, kPortFreeWithinMs);
    // Its name may be the loopback's here (127.0.1.1). If it does not resolve, the others may know better.
    if (auto also = resolve(known_.host); also.ok()) meeting.also = std::move(*also);
    const auto id = control::create_unique_id_at(meeting);
    if (id.ok()) return *id;
    return id.status().in(
        fmt::format("rank 0 cannot open the meeting point at port {} (COMITY_PORT)", port_));
  }

  Result<std::vector<SocketAddress>> addresses_of_host() const {
    auto found = resolve(known_.host);
    if (!found.ok() && !names_this_host(known_.host)) {
      return Status(
          Code::kInvalidUsage,
          fmt::format("{}=\"{}\", where rank 0 is to be met ({}), does not resolve on this host: {}; set it "
                      "to an address, as 10.0.0.1 or fd00::1",
                      known_.variable, known_.host, known_.launcher, found.status().message()));
    }
    std::vector<SocketAddress> addresses = found.ok() ? std::move(*found) : std::vector<SocketAddress>();
    if (names_this_host(known_.host)) {
      COMITY_ASSIGN_OR_RETURN(const auto own, usable_interfaces(settings_));
      for (const NetworkInterface& interface : own) addresses.push_back(interface.address);
    }
    for (SocketAddress& address : addresses) address.set_port(port_);
    return addresses;
  }

  // Rank 0 may start much later than this rank does, so it is waited for here; but it cannot come where
  // somebody else stays.
  Result<control::UniqueId> find(const Secret& secret, const Deadline& deadline) const {
    COMITY_ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, addresses_of_host());
    const control::UniqueId id = control::unique_id_at(addresses, secret);
    using Who = control::Found::Who;
    Deadline stranger = within(deadline, known_.stranger_for_ms);
    Deadline silent = within(deadline, known_.silent_for_ms);
    while (true) {
      const control::Found found = control::look_for_meeting(id, place().rank);
      if (found.who == Who::kMeeting) return id;
      if (found.who == Who::kFailed) return Status(found.code, found.what);
      if (found.who == Who::kStranger && stranger.passed()) return held_by_another(found.what);
      if (found.who == Who::kSilent && silent.passed()) return held_by_another(found.what);
      if (found.who != Who::kStranger) stranger = within(deadline, known_.stranger_for_ms);
      if (found.who == Who::kNobody) silent = within(deadline, known_.silent_for_ms);
      if (deadline.passed()) return nobody(addresses, found.what);
      ::nanosleep(&kNap, nullptr);
    }
  }

  static Deadline within(const Deadline& deadline, int ms) {
    return Deadline::after_ms(static_cast<uint64_t>(deadline.left_ms(ms)));
  }

  Status held_by_another(const std::string& who) const {
    return Status(
        Code::kRemoteError,
        fmt::format("rank {}: where rank 0 is to be met ({}, port {} of COMITY_PORT) something else "
                    "answers: {}; either another job, an earlier run that has not ended, or another "
                    "program holds the port: set COMITY_PORT to a free one on all ranks; or the "
                    "secret of COMITY_SECRET_FILE is not rank 0's, or its process is stopped",
                    place().rank, known_.variable, port_, who));
  }

  Status nobody(const std::vector<SocketAddress>& addresses, const std::string& answers) const {
    std::string tried;
    for (const SocketAddress& address : addresses) tried += (tried.empty() ? "" : ", ") + address.text();
    return Status(Code::kTimeout,
                  fmt::format("rank {}: no rank 0 answers at {} ({}, COMITY_PORT) within "
                              "COMITY_INIT_TIMEOUT_MS{}{}; is it running, and is that its host?{}",
                              place().rank, tried, known_.variable, answers.empty() ? "" : ": ", answers,
                              interfaces_left_out(&settings_)));
  }

  KnownHost known_;
  Settings settings_;
  Secret secret_;
  uint16_t port_;
};

}  // namespace

Result<std::unique_ptr<Launcher>> make_known_host_launcher(Place place, const KnownHost& known,
                                                           const Settings& settings) {
  COMITY_ASSIGN_OR_RETURN(const std::optional<Secret> secret, read_secret(settings));
  if (!secret.has_value()) {
    return Status(
        Code::kInvalidUsage,
        fmt::format("{} passes no secret on: set COMITY_SECRET_FILE to a file with the same secret on "
                    "all hosts, which its owner alone may read; to make one: (umask 077; head -c 32 "
                    "/dev/urandom | base64 > FILE)",
                    known.launcher));
  }
  COMITY_ASSIGN_OR_RETURN(const uint64_t port, settings.number("COMITY_PORT"));
  return std::unique_ptr<Launcher>(
      std::make_unique<KnownHostLauncher>(place, known, settings, *secret, static_cast<uint16_t>(port)));
}

}  // namespace comity::launch
