#include "topology/discover/verbs.h"

#include <fmt/core.h>

#include "topology/discover/library.h"

namespace comity::topology {

Result<std::vector<std::string>> devices_of_verbs(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(Library library, Library::open(file, {"libibverbs.so.1"}));
  void** (*list)(int*) = nullptr;
  void (*free_list)(void**) = nullptr;
  const char* (*name)(void*) = nullptr;
  library.required("ibv_get_device_list", list)
      .required("ibv_free_device_list", free_list)
      .required("ibv_get_device_name", name);
  COMITY_RETURN_IF_ERROR(library.complete());
  int count = 0;
  void** devices = list(&count);
  if (devices == nullptr)
    return Status(
        Code::kUnhandledDeviceError,
        "ibv_get_device_list refused; is the kernel module ib_uverbs loaded? Look at `ibv_devices`");
  std::vector<std::string> names;
  for (int number = 0; number < count; ++number)
    if (const char* text = name(devices[number]); text != nullptr) names.emplace_back(text);
  free_list(devices);
  return names;
}

}  // namespace comity::topology
