/* A rank that knows nothing of its launcher: env_rank [ROUNDS]. Each round joins by comityCommInitEnv, sums
 * the ranks' numbers and leaves. Prints a line per round, "rank R of N: sum S", or the error. Exits 0, or
 * 1. */
#include <comity/comity.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* what, comityResult_t result) {
  fprintf(stderr, "%s: %s: %s\n", what, comityGetErrorString(result), comityGetLastError(NULL));
  return 1;
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 1;
  for (int round = 0; round < rounds; ++round) {
    comityComm_t comm;
    int rank = -1, nranks = -1;
    comityResult_t result = comityCommInitEnv(&comm);
    if (result != comitySuccess) return fail("comityCommInitEnv", result);
    comityCommUserRank(comm, &rank);
    comityCommCount(comm, &nranks);
    long long mine = rank + 1, sum = 0;
    result = comityAllReduce(&mine, &sum, 1, comityInt64, comitySum, comm, NULL);
    if (result != comitySuccess) return fail("comityAllReduce", result);
    result = comityCommDestroy(comm);
    if (result != comitySuccess) return fail("comityCommDestroy", result);
    printf("rank %d of %d: sum %lld\n", rank, nranks, sum);
    fflush(stdout);
    if (sum != (long long)nranks * (nranks + 1) / 2) return 1;
  }
  return 0;
}
