/* The plugin of the documentation under another name: its events fail, or never complete, once a file exists that
 * COMITY_TEST_FAIL or COMITY_TEST_HANG names. */
#define comityDevicePlugin lent_plugin
#include "docs/examples/device_plugin/lent.c"
#undef comityDevicePlugin

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

COMITY_DEVICE_PLUGIN_EXPORT const comityDeviceTable* comityDevicePlugin(void) {
  static comityDeviceTable table;
  table = *lent_plugin();
  table.name = COMITY_TEST_NAME;
  table.event_query = failing_query;
  return &table;
}
