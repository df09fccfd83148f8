#include "transports/verbs/library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <type_traits>

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
  void* const handle = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return unusable(::dlerror());
  static Library opened;
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(handle, name));
    if (function == nullptr) missing = name;
  };
  find(opened.get_device_list, "ibv_get_device_list");
  find(opened.free_device_list, "ibv_free_device_list");
  find(opened.get_device_name, "ibv_get_device_name");
  find(opened.open_device, "ibv_open_device");
  find(opened.close_device, "ibv_close_device");
  find(opened.query_device, "ibv_query_device");
  find(opened.query_gid_ex, "_ibv_query_gid_ex");
  find(opened.alloc_pd, "ibv_alloc_pd");
  find(opened.dealloc_pd, "ibv_dealloc_pd");
  find(opened.reg_mr, "ibv_reg_mr");
  find(opened.dereg_mr, "ibv_dereg_mr");
  find(opened.create_comp_channel, "ibv_create_comp_channel");
  find(opened.destroy_comp_channel, "ibv_destroy_comp_channel");
  find(opened.create_cq, "ibv_create_cq");
  find(opened.destroy_cq, "ibv_destroy_cq");
  find(opened.get_cq_event, "ibv_get_cq_event");
  find(opened.ack_cq_events, "ibv_ack_cq_events");
  find(opened.create_qp, "ibv_create_qp");
  find(opened.modify_qp, "ibv_modify_qp");
  find(opened.destroy_qp, "ibv_destroy_qp");
  find(opened.get_async_event, "ibv_get_async_event");
  find(opened.ack_async_event, "ibv_ack_async_event");
  find(opened.event_type_str, "ibv_event_type_str");
  find(opened.wc_status_str, "ibv_wc_status_str");
  if (missing != nullptr) return unusable(fmt::format("{} lacks {}", kFile, missing));
  return &opened;
}

}  // namespace

Result<const Library*> library() {
  static const Result<const Library*> opened = open();
  return opened;
}

}  // namespace comity::verbs
