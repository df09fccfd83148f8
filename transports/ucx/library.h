// libucp, opened at run time.
//
// Opening it changes the process: it patches libc's memory calls and installs a signal handler, and closing
// it undoes neither. So it is opened only when a UCX transport is made, with both switched off unless the
// user asked for them (UCX_MEM_EVENTS, UCX_HANDLE_ERRORS), and never closed: a program may unload libcomity.
#pragma once

#include <ucp/api/ucp.h>

#include <string>

#include "comity/plugin/result.h"

namespace comity::ucx {

// Its functions, by their names without "ucp_".
struct Library {
  decltype(&::ucp_get_version) get_version = nullptr;
  decltype(&::ucp_config_read) config_read = nullptr;
  decltype(&::ucp_config_modify) config_modify = nullptr;
  decltype(&::ucp_config_release) config_release = nullptr;
  decltype(&::ucp_init_version) init_version = nullptr;
  decltype(&::ucp_cleanup) cleanup = nullptr;
  decltype(&::ucp_worker_create) worker_create = nullptr;
  decltype(&::ucp_worker_destroy) worker_destroy = nullptr;
  decltype(&::ucp_worker_get_address) worker_get_address = nullptr;
  decltype(&::ucp_worker_release_address) worker_release_address = nullptr;
  decltype(&::ucp_worker_get_efd) worker_get_efd = nullptr;
  decltype(&::ucp_worker_arm) worker_arm = nullptr;
  decltype(&::ucp_worker_progress) worker_progress = nullptr;
  decltype(&::ucp_worker_set_am_recv_handler) worker_set_am_recv_handler = nullptr;
  decltype(&::ucp_ep_create) ep_create = nullptr;
  decltype(&::ucp_ep_close_nbx) ep_close_nbx = nullptr;
  decltype(&::ucp_am_send_nbx) am_send_nbx = nullptr;
  decltype(&::ucp_am_recv_data_nbx) am_recv_data_nbx = nullptr;
  decltype(&::ucp_am_data_release) am_data_release = nullptr;
  decltype(&::ucp_request_check_status) request_check_status = nullptr;
  decltype(&::ucp_request_free) request_free = nullptr;
  decltype(&::ucp_mem_map) mem_map = nullptr;
  decltype(&::ucp_mem_unmap) mem_unmap = nullptr;
  decltype(&::ucs_status_string) status_string = nullptr;
  unsigned major = 0, minor = 0, release = 0;

  std::string text(ucs_status_t status) const { return status_string(status); }
};

// Opens it at the first call; the same at every call. Any thread. kUnsupported: it is not here, or lacks what
// is needed.
Result<const Library*> library();

}  // namespace comity::ucx
