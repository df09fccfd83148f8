/* Comity for programs that use OpenCL: contexts, buffers and pointers of theirs.
 *
 * Devices are numbered as COMITY_DEVICES numbers them: "opencl:1" is number 1, of all devices of all
 * platforms in the loader's order. Comity works in one context of each device: its own, which
 * comityOpenclContext gives, or the program's, by comityOpenclUseContext before anything else. Memory of
 * comityMemAllocOn is shared virtual memory where the device has that: kernels take it by
 * clSetKernelArgSVMPointer, or as the buffer that comityOpenclBuffer names. A program's own buffers and
 * pointers are told to Comity once, and then are addresses that calls take. Order calls on a command queue
 * by comityStreamWrap. */
#ifndef COMITY_OPENCL_H_
#define COMITY_OPENCL_H_

#include <CL/cl.h>

#include "comity/comity.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes Comity work in `context`, which is retained, on device number `device`, from the first communicator
 * and the first memory on. Any thread, blocks as opening OpenCL does.
 * Errors: comityInvalidArgument (no such device, NULL), comityInvalidUsage (the device is in use in another
 * context), comitySystemError (OpenCL is not here). */
COMITY_API comityResult_t comityOpenclUseContext(unsigned device, cl_context context);

/* Writes the context in which Comity works on the device, and the device's id; either may be NULL. Both stay
 * Comity's, for as long as the process lives. Any thread, may block.
 * Errors: as above, and comityUnhandledDeviceError. */
COMITY_API comityResult_t comityOpenclContext(unsigned device, cl_context* context, cl_device_id* id);

/* Gives a buffer of the program's addresses, which calls take as if they were memory of the device, and
 * writes the first to *ptr. They are no memory: the CPU faults on them. The buffer is of Comity's context of
 * the device, and is retained until comityOpenclForget. Any thread, does not block.
 * Errors: as above. */
COMITY_API comityResult_t comityOpenclName(unsigned device, cl_mem buffer, void** ptr);

/* Tells Comity of shared virtual memory of the program's, allocated in Comity's context of the device; it
 * stays until comityOpenclForget. Any thread, does not block. Errors: as above. */
COMITY_API comityResult_t comityOpenclAdopt(unsigned device, void* ptr, size_t size);

/* Ends comityOpenclName or comityOpenclAdopt: no call uses the memory any more. The memory stays the
 * program's. Errors: comityInvalidArgument (no such address). */
COMITY_API comityResult_t comityOpenclForget(void* ptr);

/* Writes the buffer behind an address that calls take, and how many bytes into it that is; either may be
 * NULL. The buffer stays as long as the memory. Any thread, does not block.
 * Errors: comityInvalidArgument (the address is none of OpenCL memory). */
COMITY_API comityResult_t comityOpenclBuffer(const void* ptr, cl_mem* buffer, size_t* offset);

#ifdef __cplusplus
}
#endif

#endif
