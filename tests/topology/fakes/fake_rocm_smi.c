// The functions of ROCm SMI that discovery calls. Three devices, 0000:83:00.0, :84 and :85; xGMI joins the
// first two by four links of 50 GB/s, the second and third by one whose figure is the driver's placeholder,
// and first and third by way of the second.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT uint32_t rsmi_init(uint64_t flags) {
  (void)flags;
  return 0;
}
EXPORT uint32_t rsmi_shut_down(void) {
  return 0;
}
EXPORT uint32_t rsmi_status_string(uint32_t status, const char** text) {
  *text = status == 0 ? "success" : "failure";
  return 0;
}
EXPORT uint32_t rsmi_num_monitor_devices(uint32_t* count) {
  *count = 3;
  return 0;
}
EXPORT uint32_t rsmi_dev_pci_id_get(uint32_t device, uint64_t* id) {
  *id = (uint64_t)(0x83 + device) << 8;
  return 0;
}
EXPORT uint32_t rsmi_dev_name_get(uint32_t device, char* name, size_t length) {
  (void)device;
  snprintf(name, length, "AMD Instinct MI300X");
  return 0;
}
EXPORT uint32_t rsmi_topo_get_link_type(uint32_t from, uint32_t to, uint64_t* hops, int* type) {
  *hops = from + to == 2 ? 2 : 1;
  *type = 2;
  return 0;
}
EXPORT uint32_t rsmi_topo_get_link_weight(uint32_t from, uint32_t to, uint64_t* weight) {
  *weight = from + to == 2 ? 30 : 15;
  return 0;
}
EXPORT uint32_t rsmi_minmax_bandwidth_get(uint32_t from, uint32_t to, uint64_t* least, uint64_t* most) {
  *least = from + to == 1 ? 50000 : 100000;
  *most = from + to == 1 ? 200000 : 100000;
  return 0;
}
