/* Two ranks of one communicator, one on the host and one on a device, sum four floats: mixed [DEVICE], by
 * default "lent", which COMITY_DEVICES opened. */
#include <comity/comity.h>
#include <stdio.h>
#include <stdlib.h>

enum { kCount = 4 };

static void must(comityResult_t result) {
  if (result == comitySuccess) return;
  fprintf(stderr, "%s: %s\n", comityGetErrorString(result), comityGetLastError(NULL));
  exit(1);
}

int main(int argc, char** argv) {
  const char* devices[2] = {"host", argc > 1 ? argv[1] : "lent"};
  comityComm_t comms[2];
  void* buffers[2];
  must(comityCommInitAll(comms, 2, NULL));
  for (int r = 0; r < 2; ++r) {
    float values[kCount];
    for (int i = 0; i < kCount; ++i) values[i] = (float)((r + 1) * (i + 1));
    must(comityMemAllocOn(&buffers[r], sizeof values, devices[r]));
    must(comityMemCopy(buffers[r], values, sizeof values));
  }
  must(comityGroupStart());
  for (int r = 0; r < 2; ++r)
    must(comityAllReduce(buffers[r], buffers[r], kCount, comityFloat32, comitySum, comms[r], NULL));
  must(comityGroupEnd());
  int wrong = 0;
  for (int r = 0; r < 2; ++r) {
    float values[kCount];
    must(comityMemCopy(values, buffers[r], sizeof values));
    printf("rank %d on %s:", r, devices[r]);
    for (int i = 0; i < kCount; ++i) {
      printf(" %g", values[i]);
      wrong += values[i] != (float)(3 * (i + 1));
    }
    printf("\n");
    must(comityMemFree(buffers[r]));
    must(comityCommDestroy(comms[r]));
  }
  return wrong == 0 ? 0 : 1;
}
