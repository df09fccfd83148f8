// The functions of Level Zero that discovery calls. One driver, two devices, 0000:83:00.0 and 0000:84:00.0,
// two ports each: port 0 leads to the other's port 0, port 1 is down.
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
static int driver, devices[2] = {0, 1}, ports[4] = {0, 1, 2, 3};
struct port_id {
  uint32_t fabric, attach;
  uint8_t number;
};
struct speed {
  int64_t bits_per_s;
  int32_t width;
};
struct pci {
  int type;
  void* next;
  uint32_t domain, bus, device, function;
};
struct properties {
  int type;
  void* next;
  char model[256];
  uint8_t on_subdevice;
  uint32_t subdevice;
  struct port_id id;
  struct speed receive, send;
};
struct state {
  int type;
  const void* next;
  int status;
  uint32_t issues, failures;
  struct port_id remote;
  struct speed receive, send;
};

static int list(int* items, int size, uint32_t* count, void** found) {
  for (int at = 0; found != 0 && at < size; ++at) found[at] = &items[at];
  *count = (uint32_t)size;
  return 0;
}
EXPORT int zesInit(uint32_t flags) {
  (void)flags;
  return 0;
}
EXPORT int zesDriverGet(uint32_t* count, void** found) {
  return list(&driver, 1, count, found);
}
EXPORT int zesDeviceGet(void* of, uint32_t* count, void** found) {
  (void)of;
  return list(devices, 2, count, found);
}
EXPORT int zesDevicePciGetProperties(void* device, struct pci* pci) {
  pci->domain = pci->device = pci->function = 0;
  pci->bus = 0x83 + (uint32_t) * (int*)device;
  return pci->type == 2 ? 0 : 1;
}
EXPORT int zesDeviceEnumFabricPorts(void* device, uint32_t* count, void** found) {
  return list(ports + 2 * *(int*)device, 2, count, found);
}
EXPORT int zesFabricPortGetProperties(void* port, struct properties* properties) {
  const int number = *(int*)port;
  properties->id = (struct port_id){7, (uint32_t)number / 2, (uint8_t)(number % 2)};
  properties->send = (struct speed){720000000000, 4};
  return properties->type == 6 ? 0 : 1;
}
EXPORT int zesFabricPortGetState(void* port, struct state* state) {
  const int number = *(int*)port;
  state->status = number % 2 == 0 ? 1 : 4;
  state->remote = (struct port_id){7, 1 - (uint32_t)number / 2, 0};
  state->send = (struct speed){360000000000, 4};
  return state->type == 0x19 ? 0 : 1;
}
