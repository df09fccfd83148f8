#include "src/device/dialect/dialect_table.h"

#include "src/device/dialect/adapter.h"

namespace comity::dialect {
namespace {

// Never destroyed: drivers have threads and handlers of their own.
template <size_t kRow>
Adapter& adapter() {
  static auto* const made = new Adapter(dialects()[kRow]);
  return *made;
}

// A function of the table that calls the method of this row's adapter.
template <size_t kRow, auto kMethod, typename... Arguments>
int32_t call(Arguments... arguments) {
  return (adapter<kRow>().*kMethod)(arguments...);
}

template <size_t kRow>
comityDeviceTable make_table() {
  comityDeviceTable table{};
  table.size = sizeof table;
  table.abi = COMITY_DEVICE_ABI;
  table.name = dialects()[kRow].name;
  table.start = call<kRow, &Adapter::start>;
  table.error_text = error_text;
  table.device_count = call<kRow, &Adapter::device_count>;
  table.properties = call<kRow, &Adapter::properties>;
  table.current_device = call<kRow, &Adapter::current_device>;
  table.allocate = call<kRow, &Adapter::allocate>;
  table.release = call<kRow, &Adapter::release>;
  table.find = call<kRow, &Adapter::find>;
  table.allocate_host = call<kRow, &Adapter::allocate_host>;
  table.release_host = call<kRow, &Adapter::release_host>;
  table.queue_create = call<kRow, &Adapter::queue_create>;
  table.queue_destroy = call<kRow, &Adapter::queue_destroy>;
  table.copy = [](comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t) {
    return adapter<kRow>().copy(queue, to, from, bytes);
  };
  table.reduce = call<kRow, &Adapter::reduce>;
  table.event_create = call<kRow, &Adapter::event_create>;
  table.event_destroy = call<kRow, &Adapter::event_destroy>;
  table.event_record = call<kRow, &Adapter::event_record>;
  table.event_query = call<kRow, &Adapter::event_query>;
  table.queue_wait = call<kRow, &Adapter::queue_wait>;
  table.queue_stream = call<kRow, &Adapter::queue_stream>;
  table.stream_check = call<kRow, &Adapter::stream_check>;
  table.stream_record = call<kRow, &Adapter::stream_record>;
  table.stream_hold = call<kRow, &Adapter::stream_hold>;
  table.gate_open = call<kRow, &Adapter::gate_open>;
  return table;
}

template <size_t kRow>
const comityDeviceTable& table_of_row() {
  static const comityDeviceTable table = make_table<kRow>();
  return table;
}

}  // namespace

const std::vector<NamedTable>& tables() {
  static const std::vector<NamedTable> all = {{dialects()[0].name, table_of_row<0>},
                                              {dialects()[1].name, table_of_row<1>}};
  return all;
}

}  // namespace comity::dialect
