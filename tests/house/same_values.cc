// The C API's enumerations and those that authors of plugins see are the same numbers. Compiled by
// headers_test.py.
#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "comity/plugin/types.h"

namespace comity {

#define COMITY_SAME(c_name, cc_name) static_assert(static_cast<int>(c_name) == static_cast<int>(cc_name))

COMITY_SAME(comitySuccess, Code::kSuccess);
COMITY_SAME(comityUnhandledDeviceError, Code::kUnhandledDeviceError);
COMITY_SAME(comitySystemError, Code::kSystemError);
COMITY_SAME(comityInternalError, Code::kInternalError);
COMITY_SAME(comityInvalidArgument, Code::kInvalidArgument);
COMITY_SAME(comityInvalidUsage, Code::kInvalidUsage);
COMITY_SAME(comityRemoteError, Code::kRemoteError);
COMITY_SAME(comityInProgress, Code::kInProgress);
COMITY_SAME(comityTimeout, Code::kTimeout);
COMITY_SAME(comityNumResults, Code::kUnsupported);  // the one code that never leaves the library

COMITY_SAME(comityInt8, DataType::kInt8);
COMITY_SAME(comityUint8, DataType::kUint8);
COMITY_SAME(comityInt32, DataType::kInt32);
COMITY_SAME(comityUint32, DataType::kUint32);
COMITY_SAME(comityInt64, DataType::kInt64);
COMITY_SAME(comityUint64, DataType::kUint64);
COMITY_SAME(comityFloat16, DataType::kFloat16);
COMITY_SAME(comityFloat32, DataType::kFloat32);
COMITY_SAME(comityFloat64, DataType::kFloat64);
COMITY_SAME(comityBfloat16, DataType::kBfloat16);
COMITY_SAME(comityFloat8e4m3, DataType::kFloat8e4m3);
COMITY_SAME(comityFloat8e5m2, DataType::kFloat8e5m2);
COMITY_SAME(comityNumTypes, kDataTypeCount);

COMITY_SAME(comitySum, RedOp::kSum);
COMITY_SAME(comityProd, RedOp::kProd);
COMITY_SAME(comityMax, RedOp::kMax);
COMITY_SAME(comityMin, RedOp::kMin);
COMITY_SAME(comityAvg, RedOp::kAvg);
COMITY_SAME(comityNumOps, kRedOpCount);

}  // namespace comity
