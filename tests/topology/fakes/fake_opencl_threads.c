// An OpenCL loader whose driver starts threads of its own, as those that compile kernels do: each has an
// alternate stack for signals, made by the driver and left in place when the thread ends. A sanitizer that
// manages such stacks itself takes it for its own. No device.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
static pthread_t thread;
static volatile int ending;

static void* work(void* unused) {
  (void)unused;
  static char memory[65536];
  stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
  sigaltstack(&stack, NULL);
  return NULL;
}

EXPORT int clGetPlatformIDs(uint32_t most, void** platforms, uint32_t* count) {
  (void)most;
  (void)platforms;
  if (!ending && pthread_create(&thread, NULL, work, NULL) == 0) pthread_join(thread, NULL);
  ending = 1;
  *count = 0;
  return 0;
}
EXPORT int clGetDeviceIDs(void* of, uint64_t type, uint32_t most, void** devices, uint32_t* count) {
  (void)of, (void)type, (void)most, (void)devices;
  *count = 0;
  return 0;
}
EXPORT int clGetDeviceInfo(void* device, uint32_t what, size_t size, void* value, size_t* used) {
  (void)device, (void)what, (void)size, (void)value, (void)used;
  return -30;
}
