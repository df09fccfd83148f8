// The functions of NVML that discovery calls. Two GPUs: 0000:83:00.0 and 0000:84:00.0, joined by two NVLinks,
// and each with four to a switch at 0000:05:00.0; link 6 is down. FAKE_MODE: 0 works; 1 refuses to start; 2
// hangs; 3 lacks a function.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
struct pci {
  char legacy[16];
  unsigned domain, bus, device, id, subsystem;
  char bus_id[32];
};
static int gpus[2] = {0, 1};

EXPORT int nvmlInit_v2(void) {
#if FAKE_MODE == 2
  for (;;) pause();
#endif
  return FAKE_MODE == 1 ? 9 : 0;
}
EXPORT int nvmlShutdown(void) {
  return 0;
}
EXPORT const char* nvmlErrorString(int status) {
  return status == 9 ? "Driver Not Loaded" : "Unknown Error";
}
EXPORT int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = &gpus[index];
  return 0;
}
static void fill(struct pci* info, unsigned bus) {
  memset(info, 0, sizeof *info);
  info->bus = bus;
  snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:00.0", 0u, bus);
}
EXPORT int nvmlDeviceGetPciInfo_v3(void* device, struct pci* info) {
  fill(info, 0x83 + *(int*)device);
  return 0;
}
EXPORT int nvmlDeviceGetName(void* device, char* name, unsigned length) {
  (void)device;
  snprintf(name, length, "NVIDIA H100 80GB HBM3");
  return 0;
}
EXPORT int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  (void)device;
  *major = 9;
  *minor = 0;
  return 0;
}
EXPORT int nvmlDeviceGetNvLinkState(void* device, unsigned link, int* active) {
  (void)device;
  *active = link < 6;
  return link < 7 ? 0 : 2;
}
EXPORT int nvmlDeviceGetNvLinkVersion(void* device, unsigned link, unsigned* version) {
  (void)device;
  (void)link;
  *version = 4;
  return 0;
}
#if FAKE_MODE != 3
EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(void* device, unsigned link, struct pci* info) {
  fill(info, link < 2 ? 0x84 - *(int*)device : 5);
  return 0;
}
#endif
EXPORT int nvmlDeviceGetNvLinkRemoteDeviceType(void* device, unsigned link, int* type) {
  (void)device;
  *type = link < 2 ? 0 : 2;
  return 0;
}
