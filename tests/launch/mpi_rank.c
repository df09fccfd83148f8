/* A program of MPI that uses Comity beside it: mpi_rank [refused]. Prints "rank R of N: ok" and exits 0, or
 * the error and 1. With "refused" no rank may join, as rank 0 cannot listen: every rank must hear of it. */
#include <comity/mpi.h>
#include <stdio.h>
#include <string.h>

enum { kCount = 1000 };

static int wrong(int rank, const char* what) {
  fprintf(stderr, "rank %d: %s: %s\n", rank, what, comityGetLastError(NULL));
  return 1;
}

/* The same sums by both, over the ranks of `mpi_comm`. */
static int sums_agree(MPI_Comm mpi_comm) {
  double mine[kCount], ours[kCount], theirs[kCount];
  int rank, nranks, comity_rank = -1, comity_nranks = -1;
  comityComm_t comm;
  MPI_Comm_rank(mpi_comm, &rank);
  MPI_Comm_size(mpi_comm, &nranks);
  for (int i = 0; i < kCount; ++i) mine[i] = rank * 3 + i;
  if (comityCommInitMPI(&comm, mpi_comm) != comitySuccess) return wrong(rank, "comityCommInitMPI");
  comityCommUserRank(comm, &comity_rank);
  comityCommCount(comm, &comity_nranks);
  if (comity_rank != rank || comity_nranks != nranks) return wrong(rank, "another rank than MPI's");
  if (comityAllReduce(mine, ours, kCount, comityFloat64, comitySum, comm, NULL) != comitySuccess)
    return wrong(rank, "comityAllReduce");
  MPI_Allreduce(mine, theirs, kCount, MPI_DOUBLE, MPI_SUM, mpi_comm);
  if (memcmp(ours, theirs, sizeof ours) != 0) return wrong(rank, "another sum than MPI's");
  return comityCommDestroy(comm) == comitySuccess ? 0 : wrong(rank, "comityCommDestroy");
}

/* An argument that one rank gets wrong is an error on all, which stay in step. */
static int one_mistake_is_everybodys(int rank, int nranks) {
  comityComm_t comm;
  const int guilty = nranks - 1;
  const comityResult_t result = comityCommInitMPI(rank == guilty ? NULL : &comm, MPI_COMM_WORLD);
  if (result != comityInvalidArgument) return wrong(rank, "a NULL of one rank is not everybody's error");
  return rank == guilty || comm == COMITY_COMM_NULL ? 0 : wrong(rank, "a handle in spite of an error");
}

int main(int argc, char** argv) {
  int rank, nranks, failed;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &nranks);
  if (argc > 1 && strcmp(argv[1], "refused") == 0) {
    comityComm_t comm;
    failed = comityCommInitMPI(&comm, MPI_COMM_WORLD) == comitySuccess || comm != COMITY_COMM_NULL;
  } else {
    MPI_Comm part;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &part); /* in reverse order */
    failed = sums_agree(MPI_COMM_WORLD) || one_mistake_is_everybodys(rank, nranks) || sums_agree(part) ||
             comityCommInitMPI(NULL, MPI_COMM_NULL) != comityInvalidArgument;
    MPI_Comm_free(&part);
  }
  if (!failed) printf("rank %d of %d: ok\n", rank, nranks);
  MPI_Finalize();
  return failed;
}
