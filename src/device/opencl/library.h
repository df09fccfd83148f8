// OpenCL's loader, opened at run time, and what of it is used. Included by this room's files alone.
#pragma once

#include <CL/cl.h>

#include "comity/plugin/result.h"

namespace comity::opencl {

// clang-format off
#define COMITY_OPENCL_FUNCTIONS(F)                                                                   \
  F(clGetPlatformIDs) F(clGetPlatformInfo) F(clGetDeviceIDs) F(clGetDeviceInfo) F(clCreateContext)   \
  F(clReleaseContext) F(clRetainContext) F(clCreateCommandQueue) F(clReleaseCommandQueue)            \
  F(clGetCommandQueueInfo) F(clCreateBuffer) F(clRetainMemObject) F(clReleaseMemObject)              \
  F(clGetMemObjectInfo) F(clCreateProgramWithSource) F(clCreateProgramWithBinary) F(clBuildProgram)  \
  F(clGetProgramBuildInfo) F(clGetProgramInfo) F(clReleaseProgram) F(clCreateKernel)                 \
  F(clReleaseKernel) F(clSetKernelArg) F(clEnqueueNDRangeKernel) F(clEnqueueReadBuffer)              \
  F(clEnqueueWriteBuffer) F(clEnqueueCopyBuffer) F(clEnqueueMarkerWithWaitList)                      \
  F(clEnqueueBarrierWithWaitList) F(clFlush) F(clRetainEvent) F(clReleaseEvent) F(clGetEventInfo)    \
  F(clCreateUserEvent) F(clSetUserEventStatus) F(clWaitForEvents)
// clang-format on

// Pointers to the loader's functions, by their own names. Those of OpenCL 2 may be null.
struct Library {
#define COMITY_OPENCL_MEMBER(name) decltype(&::name) name = nullptr;
  COMITY_OPENCL_FUNCTIONS(COMITY_OPENCL_MEMBER)
  COMITY_OPENCL_MEMBER(clSVMAlloc)
  COMITY_OPENCL_MEMBER(clSVMFree)
#undef COMITY_OPENCL_MEMBER
};

// Opens it once for the process; blocks as that does. kUnsupported: it is not here, with what to install.
Result<const Library*> library();

// "clEnqueueCopyBuffer: out of host memory (-6)".
Status failed(const char* function, cl_int error);

}  // namespace comity::opencl
