#include "src/cli/device_check.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/cli/device_lab.h"
#include "src/cli/device_measure.h"
#include "src/cli/device_reductions.h"

namespace comity::cli {
namespace {

constexpr uint64_t kLong = uint64_t{1} << 20;  // a copy that takes a while
constexpr uint64_t kLongest = uint64_t{8} << 20;

void expect(bool holds, const std::string& otherwise) {
  if (!holds) throw Broken(otherwise);
}

// --- properties and memory ---------------------------------------------------------------------------------

void check_properties(DeviceLab& lab) {
  struct {
    comityDeviceProperties properties;
    unsigned char guard[64];
  } filled;
  std::memset(&filled, 0xa5, sizeof filled);
  std::memset(&filled.properties, 0, sizeof filled.properties);
  filled.properties.size = sizeof filled.properties;
  lab.good(lab.table().properties(lab.device(), &filled.properties), "properties");
  for (const unsigned char byte : filled.guard)
    expect(byte == 0xa5, "properties() writes more than `size` says");
  const comityDeviceProperties& its = filled.properties;
  expect(::strnlen(its.name, sizeof its.name) < sizeof its.name && its.name[0] != '\0',
         "the name is empty or does not end");
  expect(::strnlen(its.driver, sizeof its.driver) < sizeof its.driver, "the driver's version does not end");
  expect(::strnlen(its.bus_id, sizeof its.bus_id) < sizeof its.bus_id, "the bus id does not end");
  expect(its.queues >= 1, "it says that no queue can work");
  const bool reduces = lab.table().reduce != nullptr && (its.flags & COMITY_DEVICE_CANONICAL) != 0;
  expect(!reduces || its.max_sources >= 2, "it reduces, and takes fewer than two sources");
  lab.refused(lab.table().properties(1u << 20, &filled.properties), COMITY_DEVICE_INVALID,
              "a device number that is none");
}

void expect_found(DeviceLab& lab, const std::byte* pointer, const std::byte* base, uint64_t bytes) {
  comityDevicePointer found{};
  found.size = sizeof found;
  lab.good(lab.table().find(pointer, &found), "find");
  expect(found.device == lab.device(), fmt::format("find() says device {} of its memory", found.device));
  const auto first = reinterpret_cast<uintptr_t>(base);
  expect(found.bytes == 0 || (found.base <= first && found.base + found.bytes >= first + bytes),
         "find() gives an allocation that does not hold what was allocated");
}

void check_memory(DeviceLab& lab) {
  for (const uint64_t bytes : {1, 127, 128, 4096, 1'000'003}) {
    std::byte* memory = lab.memory(bytes);
    expect(reinterpret_cast<uintptr_t>(memory) % 128 == 0, "memory is not aligned to 128 bytes");
    expect_found(lab, memory, memory, bytes);
    expect_found(lab, memory + bytes - 1, memory, bytes);
  }
  int local = 0;
  comityDevicePointer found{};
  found.size = sizeof found;
  expect(lab.table().find(&local, &found) == COMITY_DEVICE_INVALID,
         "find() claims a variable of this program");
  const auto release = lab.table().release;
  lab.refused(release(lab.device(), &local), COMITY_DEVICE_INVALID, "a release of what it never gave");
  void* once = nullptr;
  lab.good(lab.table().allocate(lab.device(), 1000, &once), "allocate");
  lab.good(release(lab.device(), once), "release");
  lab.refused(release(lab.device(), once), COMITY_DEVICE_INVALID, "a second release");
  void* none = nullptr;
  lab.refused(lab.table().allocate(lab.device(), uint64_t{1} << 60, &none), COMITY_DEVICE_NO_MEMORY,
              "an impossible size");
}

void check_host_memory(DeviceLab& lab) {
  const Bytes content = random_bytes(100'003, 7);
  void* pinned = nullptr;
  lab.good(lab.table().allocate_host(content.size(), &pinned), "allocate_host");
  std::memcpy(pinned, content.data(), content.size());
  std::byte* memory = lab.memory(content.size());
  lab.copy(lab.queue(0), memory, pinned, content.size(), COMITY_DEVICE_COPY_IN);
  lab.finish(lab.queue(0));
  const bool right = lab.content(memory, content.size()) == content;
  lab.good(lab.table().release_host(pinned), "release_host");
  expect(right, "a copy from its memory of the host is wrong");
}

// --- copies, order, events ---------------------------------------------------------------------------------

void check_copies(DeviceLab& lab) {
  for (const uint64_t bytes : {1, 3, 64, 4097, 300'007}) {
    const Bytes content = random_bytes(bytes, bytes);
    expect(lab.content(lab.memory(content), bytes) == content,
           fmt::format("{} bytes come back otherwise", bytes));
  }
  const Bytes content = random_bytes(5000, 1);
  const std::byte* from = lab.memory(content);
  std::byte* to = lab.memory(Bytes(5000));
  lab.copy(lab.queue(0), to + 13, from + 7, 4000, COMITY_DEVICE_COPY_WITHIN);
  lab.finish(lab.queue(0));
  const Bytes got = lab.content(to, 5000);
  expect(std::equal(content.begin() + 7, content.begin() + 4007, got.begin() + 13),
         "a copy within the device, from the middle, is wrong");
  expect(std::all_of(got.begin(), got.begin() + 13, [](std::byte each) { return each == std::byte{}; }),
         "a copy within the device writes before its destination");
}

// A short copy reads the end of what the long one before it wrote.
void check_order(DeviceLab& lab) {
  constexpr uint64_t kEnd = 4096;
  constexpr int kRounds = 8;
  const Bytes content[2] = {random_bytes(kLongest, 1), random_bytes(kLongest, 2)};
  const std::byte* from[2] = {lab.memory(content[0]), lab.memory(content[1])};
  std::byte* to = lab.memory(kLongest);
  std::byte* end = lab.memory(kEnd);
  for (uint32_t index = 0; index < std::min(lab.properties().queues, 2u); ++index) {
    comityDeviceQueue_t queue = lab.queue(index);
    Bytes& result = lab.keep(Bytes(kRounds * kEnd));
    for (int round = 0; round < kRounds; ++round) {
      lab.copy(queue, to, from[round % 2], kLongest, COMITY_DEVICE_COPY_WITHIN);
      lab.copy(queue, end, to + kLongest - kEnd, kEnd, COMITY_DEVICE_COPY_WITHIN);
      lab.copy(queue, result.data() + round * kEnd, end, kEnd, COMITY_DEVICE_COPY_OUT);
    }
    lab.finish(queue);
    for (int round = 0; round < kRounds; ++round) {
      expect(std::equal(content[round % 2].end() - kEnd, content[round % 2].end(),
                        result.begin() + static_cast<ptrdiff_t>(round * kEnd)),
             fmt::format("queue {} does not keep the order of issue", index));
    }
  }
}

// An event that completes too early shows as bytes that are not there.
void check_events(DeviceLab& lab) {
  comityDeviceEvent_t event = lab.event();
  expect(lab.is_complete(event), "an event that was never recorded is not complete");
  std::byte* memory = lab.memory(kLong);
  Bytes& result = lab.keep(Bytes(kLong));
  for (uint64_t round = 0; round < 6; ++round) {
    const Bytes& content = lab.keep(random_bytes(kLong, 100 + round));
    lab.copy(lab.queue(0), memory, content.data(), kLong, COMITY_DEVICE_COPY_IN);
    lab.copy(lab.queue(0), result.data(), memory, kLong, COMITY_DEVICE_COPY_OUT);
    lab.record(lab.queue(0), event);
    lab.wait(event);
    expect(result == content, "an event is complete, and the bytes before it have not arrived");
  }
}

void check_queues(DeviceLab& lab) {
  std::vector<std::thread> threads;
  std::vector<std::string> wrong(lab.properties().queues > 1 ? 2 : 1);
  for (uint32_t index = 0; index < wrong.size(); ++index) lab.queue(index);
  for (uint32_t index = 0; index < wrong.size(); ++index) {
    threads.emplace_back([&, index] {
      try {
        DeviceLab mine(lab.runtime(), lab.device(), lab.patience_ms());
        for (uint64_t round = 0; round < 20; ++round) {
          const Bytes content = random_bytes(65'537, round);
          expect(mine.content(mine.memory(content), content.size()) == content, "bytes are wrong");
        }
      } catch (const Broken& broken) {
        wrong[index] = broken.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& each : wrong) expect(each.empty(), "with two threads: " + each);
}

// --- streams -----------------------------------------------------------------------------------------------

// Opens the gate, if the check ends before.
class Gate {
 public:
  Gate(DeviceLab& lab, void* stream) : lab_(lab) {
    lab.good(lab.table().stream_hold(lab.device(), stream, &gate_), "stream_hold");
  }
  ~Gate() {
    if (gate_ != nullptr) static_cast<void>(lab_.table().gate_open(gate_));
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() {
    comityDeviceGate_t gate = gate_;
    gate_ = nullptr;
    lab_.good(lab_.table().gate_open(gate), "gate_open");
  }

 private:
  DeviceLab& lab_;
  comityDeviceGate_t gate_ = nullptr;
};

// For a while.
void expect_held(DeviceLab& lab, comityDeviceEvent_t event, const char* otherwise) {
  const Deadline deadline = Deadline::after_ms(lab.held_ms);
  while (!deadline.passed()) {
    expect(!lab.is_complete(event), otherwise);
    sched_yield();
  }
}

void check_streams(DeviceLab& lab) {
  comityDeviceQueue_t held = lab.queue(0);
  comityDeviceQueue_t free = lab.queue(1);
  void* stream = lab.stream(held);
  lab.good(lab.table().stream_check(lab.device(), stream), "stream_check");
  const Bytes content = random_bytes(4096, 5);
  std::byte* memory = lab.memory(content);
  Bytes& behind = lab.keep(Bytes(4096));
  Bytes& beside = lab.keep(Bytes(4096));
  comityDeviceEvent_t before = lab.event(), after = lab.event(), other = lab.event();
  lab.good(lab.table().stream_record(lab.device(), stream, before), "stream_record");
  Gate gate(lab, stream);
  lab.copy(held, behind.data(), memory, 4096, COMITY_DEVICE_COPY_OUT);
  lab.record(held, after);
  lab.wait(before);
  lab.copy(free, beside.data(), memory, 4096, COMITY_DEVICE_COPY_OUT);
  lab.record(free, other);
  lab.wait(other);
  expect(beside == content, "a queue beside a gated stream is wrong");
  expect_held(lab, after, "what is behind a closed gate is carried out");
  gate.open();
  lab.wait(after);
  expect(behind == content, "what was behind a gate is wrong");
}

// Gates of two streams at once, opened in the other order.
void check_gates(DeviceLab& lab) {
  comityDeviceEvent_t events[2] = {lab.event(), lab.event()};
  std::byte* memory = lab.memory(random_bytes(64, 6));
  Bytes* const results[2] = {&lab.keep(Bytes(64)), &lab.keep(Bytes(64))};
  Gate first(lab, lab.stream(lab.queue(0)));
  Gate second(lab, lab.stream(lab.queue(1)));
  for (uint32_t index = 0; index < 2; ++index) {
    lab.copy(lab.queue(index), results[index]->data(), memory, 64, COMITY_DEVICE_COPY_OUT);
    lab.record(lab.queue(index), events[index]);
  }
  second.open();
  lab.wait(events[1]);
  expect_held(lab, events[0], "the gate of one stream lets another through");
  first.open();
  lab.wait(events[0]);
}

void check_waits(DeviceLab& lab) {
  comityDeviceEvent_t before = lab.event(), after = lab.event();
  const Bytes& content = lab.keep(random_bytes(kLong, 9));
  std::byte* memory = lab.memory(kLong);
  Bytes& result = lab.keep(Bytes(kLong));
  lab.copy(lab.queue(0), memory, content.data(), kLong, COMITY_DEVICE_COPY_IN);
  lab.record(lab.queue(0), before);
  lab.good(lab.table().queue_wait(lab.queue(1), before), "queue_wait");
  lab.copy(lab.queue(1), result.data(), memory, kLong, COMITY_DEVICE_COPY_OUT);
  lab.record(lab.queue(1), after);
  lab.wait(after);
  expect(result == content, "a queue does not wait for another's event");
}

struct Check {
  const char* what;
  void (*run)(DeviceLab& lab);
  const char* (*absent)(const comityDeviceTable& table);  // null: never; what is absent, or null
};

const char* no_host_memory(const comityDeviceTable& table) {
  return table.allocate_host == nullptr ? "no memory of the host of its own" : nullptr;
}
const char* no_streams(const comityDeviceTable& table) {
  return table.stream_hold == nullptr || table.queue_stream == nullptr ? "no streams of users" : nullptr;
}
const char* no_waits(const comityDeviceTable& table) {
  return table.queue_wait == nullptr ? "queues do not wait for events" : nullptr;
}

constexpr Check kChecks[] = {
    {"properties are whole, and fill no more than they may", check_properties, nullptr},
    {"memory is aligned, found, and released once", check_memory, nullptr},
    {"copies in, out and within keep every byte", check_copies, nullptr},
    {"a queue keeps the order of issue", check_order, nullptr},
    {"an event is complete when the bytes have arrived, and not before", check_events, nullptr},
    {"queues of different threads do not disturb each other", check_queues, nullptr},
    {"a queue waits for another's event", check_waits, no_waits},
    {"memory of the host of its own", check_host_memory, no_host_memory},
    {"a gate holds what is behind it on a stream, and nothing else", check_streams, no_streams},
    {"gates of two streams do not depend on each other", check_gates, no_streams},
};

Checked run(std::string what, const std::function<std::string()>& check) {
  try {
    const std::string absent = check();
    return {std::move(what), absent.empty() ? Checked::Outcome::kHolds : Checked::Outcome::kAbsent, absent};
  } catch (const std::exception& broken) {
    return {std::move(what), Checked::Outcome::kFails, broken.what()};
  }
}

}  // namespace

uint32_t DeviceReport::count(Checked::Outcome outcome) const {
  return static_cast<uint32_t>(std::count_if(checks.begin(), checks.end(),
                                             [&](const Checked& each) { return each.outcome == outcome; }));
}

DeviceReport check_device(const std::shared_ptr<DeviceRuntime>& runtime, uint32_t number,
                          const CheckOptions& options) {
  DeviceLab::set_trusted(true);
  DeviceReport report;
  report.name = fmt::format("{}:{}", runtime->name(), number);
  report.properties.size = sizeof report.properties;
  static_cast<void>(runtime->table().properties(number, &report.properties));
  for (const Check& check : kChecks) {
    report.checks.push_back(run(check.what, [&]() -> std::string {
      const char* absent = check.absent == nullptr ? nullptr : check.absent(runtime->table());
      if (absent != nullptr) return absent;
      DeviceLab lab(runtime, number, options.patience_ms);
      lab.held_ms = options.held_ms;
      check.run(lab);
      return {};
    }));
  }
  for (uint32_t type = 0; type < COMITY_DEVICE_TYPES; ++type) {
    ReductionsFound found;
    Checked checked = run(
        fmt::format("reductions of {} give the canonical bits", name_of(static_cast<DataType>(type))), [&] {
          DeviceLab lab(runtime, number, options.patience_ms);
          found = check_reductions(lab, static_cast<DataType>(type));
          return found.any ? std::string() : found.detail;
        });
    if (checked.outcome == Checked::Outcome::kHolds) checked.detail = found.detail;
    report.checks.push_back(std::move(checked));
  }
  if (!options.measures || !report.holds()) return report;
  try {
    DeviceLab lab(runtime, number, options.patience_ms);
    report.figures = measure_device(lab);
  } catch (const Broken& broken) {
    report.checks.push_back({"measuring", Checked::Outcome::kFails, broken.what()});
  }
  return report;
}

}  // namespace comity::cli
