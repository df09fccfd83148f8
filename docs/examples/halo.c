/* Halo exchange: heat spreads on a plate whose rows are shared out among ranks. Before each step every rank
 * gets the row above its first and the row below its last from its neighbours, by comitySend and comityRecv
 * in one group, so that no order of the ranks can deadlock. At the end rank 0 gathers the plate and compares
 * it with one that it computed alone, bit for bit.
 *
 *   halo RANKS    the ranks are threads of this process
 *   halo          a rank of the job that a launcher started (mpirun, srun, torchrun, ...)
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comity/comity.h"

enum { kRows = 131, kColumns = 97, kSteps = 200, kMostRanks = 64 };

#define CHECK(call)                                                       \
  do {                                                                    \
    if ((call) != comitySuccess) {                                        \
      fprintf(stderr, "halo: %s: %s\n", #call, comityGetLastError(NULL)); \
      exit(1);                                                            \
    }                                                                     \
  } while (0)

/* Rows of rank r: those from first_row(r) on, up to first_row(r + 1). The plate's edge keeps its heat. */
static int first_row(int rank, int nranks) {
  return kRows * rank / nranks;
}

static double heat_at_start(int row, int column) {
  return row == 0 ? 100.0 : column == 0 ? row * 0.5 : 0.0;
}

static double* plate_of(int first, int rows) {
  double* plate = calloc((size_t)(rows + 2) * kColumns, sizeof *plate); /* a row of halo on both sides */
  if (plate == NULL) exit(1);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < kColumns; ++c) plate[(r + 1) * kColumns + c] = heat_at_start(first + r, c);
  }
  return plate;
}

/* One step on rows first .. first + rows - 1 of the whole plate, whose halo lies around them in `from`. */
static void step(const double* from, double* to, int first, int rows) {
  memcpy(to, from, (size_t)(rows + 2) * kColumns * sizeof *to);
  for (int r = 1; r <= rows; ++r) {
    if (first + r - 1 == 0 || first + r - 1 == kRows - 1) continue;
    for (int c = 1; c < kColumns - 1; ++c) {
      const double* at = from + r * kColumns + c;
      to[r * kColumns + c] = 0.25 * ((at[-kColumns] + at[kColumns]) + (at[-1] + at[1]));
    }
  }
}

static void exchange(double* plate, int rows, int rank, int nranks, comityComm_t comm) {
  double *first = plate + kColumns, *last = plate + rows * kColumns;
  CHECK(comityGroupStart());
  if (rank > 0) {
    CHECK(comitySend(first, kColumns, comityFloat64, rank - 1, comm, NULL));
    CHECK(comityRecv(first - kColumns, kColumns, comityFloat64, rank - 1, comm, NULL));
  }
  if (rank < nranks - 1) {
    CHECK(comitySend(last, kColumns, comityFloat64, rank + 1, comm, NULL));
    CHECK(comityRecv(last + kColumns, kColumns, comityFloat64, rank + 1, comm, NULL));
  }
  CHECK(comityGroupEnd());
}

/* The rows after all steps; the caller frees. Without a communicator: all of them, alone. */
static double* spread(int rank, int nranks, comityComm_t comm) {
  const int first = first_row(rank, nranks), rows = first_row(rank + 1, nranks) - first;
  double *plate = plate_of(first, rows), *next = plate_of(first, rows);
  for (int i = 0; i < kSteps; ++i) {
    if (comm != COMITY_COMM_NULL) exchange(plate, rows, rank, nranks, comm);
    step(plate, next, first, rows);
    double* swap = plate;
    plate = next;
    next = swap;
  }
  free(next);
  return plate;
}

/* Returns how many cells of the gathered plate differ from the one of a single process; 0 on other ranks. */
static int run_rank(comityComm_t comm) {
  int rank, nranks, differ = 0;
  CHECK(comityCommUserRank(comm, &rank));
  CHECK(comityCommCount(comm, &nranks));
  if (nranks > kMostRanks) exit(1);
  double *mine = spread(rank, nranks, comm), *whole = calloc(kRows * kColumns, sizeof *whole);
  size_t counts[kMostRanks];
  for (int r = 0; r < nranks; ++r) {
    counts[r] = (size_t)(first_row(r + 1, nranks) - first_row(r, nranks)) * kColumns;
  }
  CHECK(comityGatherV(mine + kColumns, counts[rank], whole, counts, NULL, comityFloat64, 0, comm, NULL));
  if (rank == 0) {
    double* alone = spread(0, 1, COMITY_COMM_NULL);
    for (int i = 0; i < kRows * kColumns; ++i)
      differ += memcmp(&whole[i], &alone[kColumns + i], sizeof *alone) != 0;
    printf("%d ranks, %d steps: %d of %d cells differ from those of one process\n", nranks, kSteps, differ,
           kRows * kColumns);
    free(alone);
  }
  free(whole);
  free(mine);
  CHECK(comityCommDestroy(comm));
  return differ;
}

static void* run_thread(void* comm) {
  return run_rank(comm) == 0 ? NULL : comm;
}

int main(int argc, char** argv) {
  const int nranks = argc > 1 ? atoi(argv[1]) : 0;
  comityComm_t comms[kMostRanks];
  if (nranks > kMostRanks) return 1;
  if (nranks <= 0) {
    CHECK(comityCommInitEnv(comms));
    return run_rank(comms[0]) == 0 ? 0 : 1;
  }
  CHECK(comityCommInitAll(comms, nranks, NULL));
  pthread_t threads[kMostRanks];
  int failed = 0;
  for (int r = 0; r < nranks; ++r) failed += pthread_create(&threads[r], NULL, run_thread, comms[r]) != 0;
  for (int r = 0; r < nranks; ++r) {
    void* differs = NULL;
    failed += pthread_join(threads[r], &differs) != 0 || differs != NULL;
  }
  return failed == 0 ? 0 : 1;
}
