// comity/opencl.h: what programs that use OpenCL tell Comity, and are told.
#include "comity/opencl.h"

#include "src/api/errors.h"
#include "src/api/guard.h"
#include "src/device/opencl/devices.h"

namespace comity::api {
namespace {

// What is not here never leaves the library as kUnsupported.
Status told(const Status& status) {
  return status.code() == Code::kUnsupported ? Status(Code::kSystemError, std::string(status.message()))
                                             : status;
}

Result<opencl::Devices*> open() {
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, opencl::devices());
  COMITY_RETURN_IF_ERROR(devices->find());
  return devices;
}

// With its context.
Result<opencl::Accelerator*> ready(opencl::Devices& devices, unsigned device) {
  COMITY_ASSIGN_OR_RETURN(opencl::Accelerator * accelerator, devices.at(device));
  COMITY_RETURN_IF_ERROR(devices.prepare(*accelerator, false));
  return accelerator;
}

Status use_context(unsigned device, cl_context context) {
  if (context == nullptr) return Status(Code::kInvalidArgument, "context is NULL");
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, open());
  return devices->use_context(device, context);
}

Status context_of(unsigned device, cl_context* context, cl_device_id* id) {
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, open());
  COMITY_ASSIGN_OR_RETURN(const opencl::Accelerator* accelerator, ready(*devices, device));
  if (context != nullptr) *context = accelerator->context;
  if (id != nullptr) *id = accelerator->id;
  return {};
}

Status name(unsigned device, cl_mem buffer, void** ptr) {
  if (ptr == nullptr || buffer == nullptr) return Status(Code::kInvalidArgument, "buffer or ptr is NULL");
  *ptr = nullptr;
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, open());
  COMITY_ASSIGN_OR_RETURN(const opencl::Accelerator* accelerator, ready(*devices, device));
  COMITY_ASSIGN_OR_RETURN(*ptr, devices->memory().name(accelerator->context, buffer, device));
  return {};
}

Status adopt(unsigned device, void* ptr, size_t size) {
  if (ptr == nullptr || size == 0) return Status(Code::kInvalidArgument, "ptr is NULL or size 0");
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, open());
  COMITY_ASSIGN_OR_RETURN(const opencl::Accelerator* accelerator, ready(*devices, device));
  return devices->memory().adopt(accelerator->context, device, ptr, size);
}

Status forget(void* ptr) {
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, open());
  return devices->memory().forget(ptr);
}

Status buffer_of(const void* ptr, cl_mem* buffer, size_t* offset) {
  COMITY_ASSIGN_OR_RETURN(opencl::Devices * devices, open());
  const auto place = devices->memory().find(ptr);
  if (!place) return Status(Code::kInvalidArgument, "the address is none of OpenCL memory");
  if (buffer != nullptr) *buffer = place->buffer;
  if (offset != nullptr) *offset = place->offset;
  return {};
}

}  // namespace
}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityOpenclUseContext(unsigned device, cl_context context) {
  return api::guarded("comityOpenclUseContext", [&] {
    return api::remember(api::told(api::use_context(device, context)).in("comityOpenclUseContext"));
  });
}

extern "C" comityResult_t comityOpenclContext(unsigned device, cl_context* context, cl_device_id* id) {
  return api::guarded("comityOpenclContext", [&] {
    return api::remember(api::told(api::context_of(device, context, id)).in("comityOpenclContext"));
  });
}

extern "C" comityResult_t comityOpenclName(unsigned device, cl_mem buffer, void** ptr) {
  return api::guarded("comityOpenclName", [&] {
    return api::remember(api::told(api::name(device, buffer, ptr)).in("comityOpenclName"));
  });
}

extern "C" comityResult_t comityOpenclAdopt(unsigned device, void* ptr, size_t size) {
  return api::guarded("comityOpenclAdopt", [&] {
    return api::remember(api::told(api::adopt(device, ptr, size)).in("comityOpenclAdopt"));
  });
}

extern "C" comityResult_t comityOpenclForget(void* ptr) {
  return api::guarded("comityOpenclForget",
                      [&] { return api::remember(api::told(api::forget(ptr)).in("comityOpenclForget")); });
}

extern "C" comityResult_t comityOpenclBuffer(const void* ptr, cl_mem* buffer, size_t* offset) {
  return api::guarded("comityOpenclBuffer", [&] {
    return api::remember(api::told(api::buffer_of(ptr, buffer, offset)).in("comityOpenclBuffer"));
  });
}
