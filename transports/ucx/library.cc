#include "transports/ucx/library.h"

#include <fmt/core.h>

#include <cstdlib>

#include "src/base/shared_library.h"

namespace comity::ucx {
namespace {

constexpr const char* kFile = "libucp.so.0";
constexpr unsigned kMajor = 1, kLeastMinor = 13;

// A variable of the environment that is there while this lives, unless the user set it.
class Preset {
 public:
  Preset(const char* name, const char* value) : name_(name), mine_(::getenv(name) == nullptr) {
    if (mine_) ::setenv(name_, value, 0);
  }
  ~Preset() {
    if (mine_) ::unsetenv(name_);
  }
  Preset(const Preset&) = delete;
  Preset& operator=(const Preset&) = delete;

 private:
  const char* name_;
  bool mine_;
};

Status unusable(const std::string& why) {
  return Status(Code::kUnsupported,
                fmt::format("UCX cannot be used: {}; install libucx0 (1.13 or later), or leave ucx out of "
                            "COMITY_TRANSPORTS",
                            why));
}

Result<SharedLibrary> open_library() {
  const Preset events("UCX_MEM_EVENTS", "n"), handler("UCX_HANDLE_ERRORS", "none");
  return SharedLibrary::open(kFile);
}

Result<const Library*> open() {
  Result<SharedLibrary> file = open_library();
  if (!file.ok()) return unusable(std::string(file.status().message()));
  static Library opened;
  file->find(opened.get_version, "ucp_get_version");
  file->find(opened.config_read, "ucp_config_read");
  file->find(opened.config_modify, "ucp_config_modify");
  file->find(opened.config_release, "ucp_config_release");
  file->find(opened.init_version, "ucp_init_version");
  file->find(opened.cleanup, "ucp_cleanup");
  file->find(opened.worker_create, "ucp_worker_create");
  file->find(opened.worker_destroy, "ucp_worker_destroy");
  file->find(opened.worker_get_address, "ucp_worker_get_address");
  file->find(opened.worker_release_address, "ucp_worker_release_address");
  file->find(opened.worker_get_efd, "ucp_worker_get_efd");
  file->find(opened.worker_arm, "ucp_worker_arm");
  file->find(opened.worker_progress, "ucp_worker_progress");
  file->find(opened.worker_set_am_recv_handler, "ucp_worker_set_am_recv_handler");
  file->find(opened.ep_create, "ucp_ep_create");
  file->find(opened.ep_close_nbx, "ucp_ep_close_nbx");
  file->find(opened.am_send_nbx, "ucp_am_send_nbx");
  file->find(opened.am_recv_data_nbx, "ucp_am_recv_data_nbx");
  file->find(opened.am_data_release, "ucp_am_data_release");
  file->find(opened.request_check_status, "ucp_request_check_status");
  file->find(opened.request_free, "ucp_request_free");
  file->find(opened.mem_map, "ucp_mem_map");
  file->find(opened.mem_unmap, "ucp_mem_unmap");
  file->find(opened.status_string, "ucs_status_string");
  if (!file->missing().empty()) return unusable(fmt::format("{} lacks {}", kFile, file->missing()));
  opened.get_version(&opened.major, &opened.minor, &opened.release);
  if (opened.major != kMajor || opened.minor < kLeastMinor) {
    return unusable(fmt::format("{} is version {}.{}.{}", kFile, opened.major, opened.minor, opened.release));
  }
  return &opened;
}

}  // namespace

Result<const Library*> library() {
  static const Result<const Library*> opened = open();
  return opened;
}

}  // namespace comity::ucx
