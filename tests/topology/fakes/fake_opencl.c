// The functions of OpenCL that discovery calls: one platform with an accelerator at 0000:83:00.0 and the CPU.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
static int platform, accelerator, cpu;

EXPORT int clGetPlatformIDs(uint32_t most, void** platforms, uint32_t* count) {
  if (most > 0) platforms[0] = &platform;
  *count = 1;
  return 0;
}
EXPORT int clGetDeviceIDs(void* of, uint64_t type, uint32_t most, void** devices, uint32_t* count) {
  (void)of;
  (void)type;
  if (most > 1) devices[0] = &accelerator, devices[1] = &cpu;
  *count = 2;
  return 0;
}
EXPORT int clGetDeviceInfo(void* device, uint32_t what, size_t size, void* value, size_t* used) {
  const uint64_t type = device == &cpu ? 2 : 8;
  const uint32_t pci[4] = {0, 0x83, 0, 0};
  (void)used;
  if (what == 0x1000) return memcpy(value, &type, sizeof type), 0;
  if (what == 0x102B) return snprintf(value, size, "%s", device == &cpu ? "pthread-cpu" : "Board 1"), 0;
  if (what == 0x102C) return snprintf(value, size, "Maker, Inc."), 0;
  if (what == 0x410F && device != &cpu) return memcpy(value, pci, sizeof pci), 0;
  return -30;
}
