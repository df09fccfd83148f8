#define COMITY_KERNEL_TABLE kKernelsAvx2
#define COMITY_KERNEL_VECTOR_BYTES 32
#include "src/device/host/kernels_body.h"
