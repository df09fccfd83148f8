#include "transports/verbs/library.h"

#include <fmt/core.h>

#include "src/base/shared_library.h"

namespace comity::verbs {
namespace {

constexpr const char* kFile = "libibverbs.so.1";

Status unusable(const std::string& why) {
  return Status(
      Code::kUnsupported,
      fmt::format("RDMA cannot be used: {}; install libibverbs1 and ibverbs-providers, or leave verbs "
                  "out of COMITY_TRANSPORTS",
                  why));
}

Result<const Library*> open() {
  Result<SharedLibrary> file = SharedLibrary::open(kFile);
  if (!file.ok()) return unusable(std::string(file.status().message()));
  static Library opened;
  file->find(opened.get_device_list, "ibv_get_device_list");
  file->find(opened.free_device_list, "ibv_free_device_list");
  file->find(opened.get_device_name, "ibv_get_device_name");
  file->find(opened.open_device, "ibv_open_device");
  file->find(opened.close_device, "ibv_close_device");
  file->find(opened.query_device, "ibv_query_device");
  file->find(opened.query_gid_ex, "_ibv_query_gid_ex");
  file->find(opened.alloc_pd, "ibv_alloc_pd");
  file->find(opened.dealloc_pd, "ibv_dealloc_pd");
  file->find(opened.reg_mr, "ibv_reg_mr");
  file->find(opened.dereg_mr, "ibv_dereg_mr");
  file->find(opened.create_comp_channel, "ibv_create_comp_channel");
  file->find(opened.destroy_comp_channel, "ibv_destroy_comp_channel");
  file->find(opened.create_cq, "ibv_create_cq");
  file->find(opened.destroy_cq, "ibv_destroy_cq");
  file->find(opened.get_cq_event, "ibv_get_cq_event");
  file->find(opened.ack_cq_events, "ibv_ack_cq_events");
  file->find(opened.create_qp, "ibv_create_qp");
  file->find(opened.modify_qp, "ibv_modify_qp");
  file->find(opened.destroy_qp, "ibv_destroy_qp");
  file->find(opened.get_async_event, "ibv_get_async_event");
  file->find(opened.ack_async_event, "ibv_ack_async_event");
  file->find(opened.event_type_str, "ibv_event_type_str");
  file->find(opened.wc_status_str, "ibv_wc_status_str");
  if (!file->missing().empty()) return unusable(fmt::format("{} lacks {}", kFile, file->missing()));
  return &opened;
}

}  // namespace

Result<const Library*> library() {
  static const Result<const Library*> opened = open();
  return opened;
}

}  // namespace comity::verbs
