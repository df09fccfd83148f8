#include "src/api/launch/rendezvous_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "src/api/launch/id_text.h"
#include "src/api/launch/secret_file.h"
#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/log.h"
#include "src/base/this_host.h"
#include "src/base/unique_fd.h"

namespace comity::launch {
namespace {

constexpr std::string_view kHead = "comity rendezvous 1\nid ";
constexpr size_t kLongestBytes = 4096;
constexpr timespec kNap{0, 10'000'000};

class RendezvousFile final : public Launcher {
 public:
  RendezvousFile(Place place, const std::string& path, const std::optional<Secret>& secret)
      : Launcher(place), path_(path), secret_(secret) {}
  ~RendezvousFile() override { remove_own(); }
  const char* name() const override { return "COMITY_RENDEZVOUS"; }
  Result<control::UniqueId> meet(const Deadline& deadline) override {
    return place().rank == 0 ? leave_id() : await_id(deadline);
  }
  void over() override { remove_own(); }

 private:
  Status error(Code code, const std::string& what) const {
    return Status(code, fmt::format("COMITY_RENDEZVOUS={}: {}", path_, what));
  }

  // The text of the file; nothing if there is none.
  Result<std::optional<std::string>> read() const {
    const UniqueFd fd = open_fd(
        [&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY); });
    if (!fd.valid() && (errno == ENOENT || errno == ESTALE)) return std::optional<std::string>();
    if (!fd.valid()) return error(Code::kSystemError, errno_text(errno));
    struct stat info {};
    if (fstat(fd.get(), &info) != 0) return error(Code::kSystemError, errno_text(errno));
    if (!S_ISREG(info.st_mode)) return error(Code::kInvalidUsage, "it is no regular file");
    if (info.st_uid != geteuid() || (info.st_mode & 022) != 0) {
      return error(Code::kInvalidUsage,
                   fmt::format("it is refused, as another user could have written it (owner {}, mode {:04o})",
                               info.st_uid, info.st_mode & 07777));
    }
    COMITY_ASSIGN_OR_RETURN(std::string text, read_open_file(fd.get(), path_, kLongestBytes));
    return std::optional<std::string>(std::move(text));
  }

  struct Lead {
    control::UniqueId id;
    control::Found found;
  };
  // The id in the text, and who answers there.
  Result<Lead> follow(const std::string& text) const {
    if (!text.starts_with(kHead) || !text.ends_with('\n'))
      return error(Code::kInvalidUsage, "the file is there and was not written by Comity; name another");
    const std::string_view digits = std::string_view(text).substr(kHead.size());
    const auto travelled = id_from_hex(digits.substr(0, digits.size() - 1));
    if (!travelled.ok()) return travelled.status().in("COMITY_RENDEZVOUS=" + path_);
    COMITY_ASSIGN_OR_RETURN(const control::UniqueId id, real_id(*travelled, secret_));
    return Lead{id, control::look_for_meeting(id, place().rank)};
  }

  Result<control::UniqueId> await_id(const Deadline& deadline) const {
    bool stale = false;
    while (!deadline.passed()) {
      COMITY_ASSIGN_OR_RETURN(const std::optional<std::string> text, read());
      stale = text.has_value();
      if (stale) {
        COMITY_ASSIGN_OR_RETURN(const Lead lead, follow(*text));
        if (lead.found.who == control::Found::Who::kMeeting) return lead.id;
        if (lead.found.who == control::Found::Who::kFailed) return Status(lead.found.code, lead.found.what);
      }
      ::nanosleep(&kNap, nullptr);
    }
    return error(Code::kTimeout, stale
                                     ? "the file is of an earlier run, as nobody answers where it leads, or "
                                       "rank 0 cannot be reached from here, or knows another secret"
                                     : "rank 0 has not written it within COMITY_INIT_TIMEOUT_MS; does it see "
                                       "the same folder?");
  }

  Result<control::UniqueId> leave_id() {
    COMITY_RETURN_IF_ERROR(remove_stale());
    COMITY_ASSIGN_OR_RETURN(const NewId id, create_id(secret_));
    text_ = fmt::format("{}{}\n", kHead, to_hex(id.travelling));
    const std::string draft = fmt::format("{}.{:.8}.{}", path_, boot_id(), getpid());
    COMITY_RETURN_IF_ERROR(write_draft(draft));
    // Unlike a rename this refuses a file that has come meanwhile.
    const bool linked = ::link(draft.c_str(), path_.c_str()) == 0;
    const int cause = errno;
    const bool links_exist = linked || (cause != EPERM && cause != EOPNOTSUPP && cause != EMLINK);
    const bool there = linked || (!links_exist && std::rename(draft.c_str(), path_.c_str()) == 0);
    if (links_exist) std::remove(draft.c_str());
    if (there) return id.real;
    text_.clear();
    return error(Code::kSystemError,
                 cause == EEXIST ? "another job uses this file now; name another" : errno_text(cause));
  }

  Status remove_stale() const {
    COMITY_ASSIGN_OR_RETURN(const std::optional<std::string> text, read());
    if (!text.has_value()) return {};
    COMITY_ASSIGN_OR_RETURN(const Lead lead, follow(*text));
    if (lead.found.who == control::Found::Who::kMeeting)
      return error(Code::kInvalidUsage, "another job that is starting now uses this file; name another");
    COMITY_LOG_INFO("{} is of an earlier run and is replaced", path_);
    if (std::remove(path_.c_str()) == 0 || errno == ENOENT) return {};
    return error(Code::kSystemError, "cannot remove the file of an earlier run: " + errno_text(errno));
  }

  Status write_draft(const std::string& draft) const {
    const UniqueFd fd = open_fd(
        [&] { return ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600); });
    if (!fd.valid()) return error(Code::kSystemError, fmt::format("{}: {}", draft, errno_text(errno)));
    const ssize_t written = ::write(fd.get(), text_.data(), text_.size());
    if (written == static_cast<ssize_t>(text_.size()) && ::fsync(fd.get()) == 0) return {};
    const std::string why = errno_text(errno);
    std::remove(draft.c_str());
    return error(Code::kSystemError, fmt::format("cannot write {}: {}", draft, why));
  }

  void remove_own() {
    if (text_.empty()) return;
    const auto there = read();
    if (there.ok() && there->has_value() && **there == text_) std::remove(path_.c_str());
    text_.clear();
  }

  std::string path_;
  std::optional<Secret> secret_;
  std::string text_;  // what this process wrote; empty: nothing that is still there
};

}  // namespace

std::unique_ptr<Launcher> make_rendezvous_file_launcher(Place place, const std::string& path,
                                                        const std::optional<Secret>& secret) {
  return std::make_unique<RendezvousFile>(place, path, secret);
}

}  // namespace comity::launch
