#define COMITY_KERNEL_TABLE kKernelsScalar
#define COMITY_KERNEL_VECTOR_BYTES 16
#include "src/device/host/kernels_body.h"
