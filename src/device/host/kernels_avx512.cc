#define COMITY_KERNEL_TABLE kKernelsAvx512
#define COMITY_KERNEL_VECTOR_BYTES 64
#include "src/device/host/kernels_body.h"
