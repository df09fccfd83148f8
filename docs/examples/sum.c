/* One process drives two devices and sums a buffer over them, each on a stream of its own. */
#include <comity/comity.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(comityResult_t result) {
  if (result == comitySuccess) return;
  fprintf(stderr, "%s\n", comityGetErrorString(result));
  exit(1);
}

enum { kDevices = 2, kCount = 1 << 16 };

int main(void) {
  comityComm_t comms[kDevices];
  comityStream_t streams[kDevices];
  void *send[kDevices], *recv[kDevices];
  float* values = malloc(kCount * sizeof *values);
  check(comityCommInitAll(comms, kDevices, NULL));
  for (int d = 0; d < kDevices; ++d) {
    for (int i = 0; i < kCount; ++i) values[i] = (float)(d + 1);
    comityStreamCreate(&streams[d]);
    comityMemAlloc(&send[d], kCount * sizeof *values);
    comityMemAlloc(&recv[d], kCount * sizeof *values);
    memcpy(send[d], values, kCount * sizeof *values);
  }
  check(comityGroupStart());
  for (int d = 0; d < kDevices; ++d) {
    check(comityAllReduce(send[d], recv[d], kCount, comityFloat, comitySum, comms[d], streams[d]));
  }
  check(comityGroupEnd());
  int wrong = 0;
  for (int d = 0; d < kDevices; ++d) {
    comityStreamSynchronize(streams[d]);
    memcpy(values, recv[d], kCount * sizeof *values);
    for (int i = 0; i < kCount; ++i) wrong += values[i] != 3;
    comityMemFree(send[d]);
    comityMemFree(recv[d]);
    comityStreamDestroy(streams[d]);
    check(comityCommDestroy(comms[d]));
  }
  printf("%d wrong\n", wrong);
  free(values);
  return wrong == 0 ? 0 : 1;
}
