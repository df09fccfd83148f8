#include "src/api/launch/secret_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/base/bytes.h"
#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/text.h"
#include "src/base/unique_fd.h"
#include "src/control/unique_id.h"

namespace comity::launch {
namespace {

constexpr size_t kFewestBytes = 16;
constexpr size_t kMostBytes = 64 * 1024;
constexpr const char* kMakeOne = "(umask 077; head -c 32 /dev/urandom | base64 >";

Status refused(const std::string& path, const std::string& why) {
  return Status(Code::kInvalidUsage, fmt::format("COMITY_SECRET_FILE={}: {}", path, why));
}

Status check_owner(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return refused(path, errno_text(errno));
  if (!S_ISREG(info.st_mode)) return refused(path, "it is no regular file");
  if (info.st_uid != geteuid())
    return refused(path, fmt::format("it belongs to user {}, not to you ({})", info.st_uid, geteuid()));
  if ((info.st_mode & 077) == 0) return {};
  return refused(path, fmt::format("others may read or write it (its mode is {:04o}): chmod 600 {}, and make "
                                   "a new secret if it was so for long",
                                   info.st_mode & 07777, path));
}

// The secret of a meeting whose public number is `nonce`.
Secret mixed(const Secret& secret, const Secret& nonce) {
  ByteWriter writer;
  writer.put(secret).put(nonce);
  Secret key{};
  const auto hash = hash_of(writer.bytes());
  static_assert(sizeof(hash) == sizeof(key));
  std::memcpy(key.data(), hash.data(), key.size());
  return derive_secret(key, "comity id with a secret file");
}

}  // namespace

Result<std::optional<Secret>> read_secret(const Settings& settings) {
  const std::string& path = settings.text("COMITY_SECRET_FILE");
  if (path.empty()) return std::optional<Secret>();
  const UniqueFd fd =
      open_fd([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); });
  if (!fd.valid() && errno == ENOENT) {
    return refused(path, fmt::format("there is no such file; to make one: {} {}), the same on all hosts",
                                     kMakeOne, path));
  }
  if (!fd.valid()) return refused(path, errno_text(errno));
  COMITY_RETURN_IF_ERROR(check_owner(fd.get(), path));
  COMITY_ASSIGN_OR_RETURN(const std::string text, read_open_file(fd.get(), path, kMostBytes));
  // An editor may have put a newline at the end of one rank's copy.
  std::string_view content = text;
  while (content.ends_with('\n') || content.ends_with('\r')) content.remove_suffix(1);
  if (content.size() < kFewestBytes) {
    return refused(path, fmt::format("it holds {} bytes, and a secret has at least {}; to make one: {} {})",
                                     content.size(), kFewestBytes, kMakeOne, path));
  }
  const auto hash = hash_of(std::as_bytes(std::span(content)));
  Secret secret{};
  std::memcpy(secret.data(), hash.data(), secret.size());
  return std::optional<Secret>(secret);
}

Result<NewId> create_id(const std::optional<Secret>& secret) {
  control::MeetingPlace place;
  Secret nonce{};
  random_bytes(nonce.data(), nonce.size());
  place.secret = secret.has_value() ? mixed(*secret, nonce) : nonce;
  COMITY_ASSIGN_OR_RETURN(const control::UniqueId real, control::create_unique_id_at(place));
  COMITY_ASSIGN_OR_RETURN(control::IdContent content, control::decode_id(real));
  content.secret = nonce;
  return NewId{real, control::encode_id(content)};
}

Result<control::UniqueId> real_id(const control::UniqueId& travelling, const std::optional<Secret>& secret) {
  COMITY_ASSIGN_OR_RETURN(control::IdContent content, control::decode_id(travelling));
  if (secret.has_value()) content.secret = mixed(*secret, content.secret);
  return control::encode_id(content);
}

}  // namespace comity::launch
