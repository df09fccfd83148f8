/* The plugin of the documentation under another name: its events fail, or never complete, or its copies do
 * not begin, while a file exists that COMITY_TEST_FAIL, COMITY_TEST_HANG or COMITY_TEST_HOLD names. */

#define comityDevicePlugin lent_plugin
#include "docs/examples/device_plugin/lent.c"
#undef comityDevicePlugin

#include <poll.h>
#include <unistd.h>

static bool there(const char* variable) {
  const char* file = getenv(variable);
  return file != NULL && access(file, F_OK) == 0;
}

static int32_t failing_query(comityDeviceEvent_t event) {
  if (there("COMITY_TEST_FAIL")) return refuse(COMITY_DEVICE_FAILED, "the device fell off the bus");
  if (there("COMITY_TEST_HANG")) return COMITY_DEVICE_PENDING;
  return event_query(event);
}

static void* open_later(void* gate) {
  while (there("COMITY_TEST_HOLD")) poll(NULL, 0, 1);
  gate_open(gate);
  return NULL;
}

static int32_t held_copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes,
                         uint32_t way) {
  comityDeviceGate_t gate;
  pthread_t thread;
  if (there("COMITY_TEST_HOLD") && stream_hold(0, queue, &gate) == COMITY_DEVICE_OK) {
    if (pthread_create(&thread, NULL, open_later, gate) != 0) abort();
    pthread_detach(thread);
  }
  return copy(queue, to, from, bytes, way);
}

COMITY_DEVICE_PLUGIN_EXPORT const comityDeviceTable* comityDevicePlugin(void) {
  static comityDeviceTable table;
  table = *lent_plugin();
  table.name = COMITY_TEST_NAME;
  table.event_query = failing_query;
  table.copy = held_copy;
  return &table;
}
