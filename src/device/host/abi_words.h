// Between the words of the device ABI and ours, for tables that are made of Devices of ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "comity/plugin/device.h"
#include "comity/plugin/device_abi.h"
#include "comity/plugin/result.h"

namespace comity {

// What a function of a table answers for an error of ours.
constexpr int32_t device_result(Code code) {
  switch (code) {
    case Code::kSuccess:
      return COMITY_DEVICE_OK;
    case Code::kInvalidArgument:
    case Code::kInvalidUsage:
      return COMITY_DEVICE_INVALID;
    case Code::kUnsupported:
      return COMITY_DEVICE_UNSUPPORTED;
    case Code::kSystemError:
      return COMITY_DEVICE_NO_MEMORY;
    default:
      return COMITY_DEVICE_FAILED;
  }
}

// A reduction of the ABI, of at most 64 sources, as a ReduceWork whose lists lie here. Of accumulators it
// knows nothing.
class AbiReduction {
 public:
  explicit AbiReduction(const comityDeviceReduction& given)
      : given_(given), destination_(static_cast<std::byte*>(given.destination)) {
    for (uint32_t k = 0; k < given.source_count; ++k) {
      sources_[k] = static_cast<const std::byte*>(given.sources[k]);
      divided_[k] = static_cast<uint8_t>(given.divided >> k & 1);
    }
  }
  // Valid as long as this object.
  ReduceWork work() const {
    ReduceWork work;
    work.type = static_cast<DataType>(given_.type);
    work.op = static_cast<RedOp>(given_.op);
    work.sources = std::span(sources_).first(given_.source_count);
    work.destinations = std::span(&destination_, 1);
    work.count = given_.count;
    work.divisor = given_.divisor;
    if ((given_.flags & COMITY_DEVICE_DIVIDES_SOURCES) != 0)
      work.divided = std::span(divided_).first(given_.source_count);
    return work;
  }
  bool accumulates() const {
    return (given_.flags & (COMITY_DEVICE_FIRST_IS_ACCUMULATOR | COMITY_DEVICE_INTO_ACCUMULATOR)) != 0;
  }

 private:
  const comityDeviceReduction& given_;
  std::byte* const destination_;
  std::array<const std::byte*, 64> sources_{};
  std::array<uint8_t, 64> divided_{};
};

}  // namespace comity
