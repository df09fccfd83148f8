/* Comity for programs of MPI: a communicator of the ranks of an MPI communicator, numbered alike.
 *
 *   MPI_Init(&argc, &argv);
 *   comityComm_t comm;
 *   if (comityCommInitMPI(&comm, MPI_COMM_WORLD) != comitySuccess) ...
 *   comityAllReduce(send, recv, count, comityFloat32, comitySum, comm, NULL);
 *   comityCommDestroy(comm);
 *   MPI_Finalize();
 *
 * Header alone, C99 and C++: it is compiled against the program's own MPI, so libcomity knows none, and Open
 * MPI and MPICH need no builds of their own. The unique id, which holds a secret, crosses MPI's network once:
 * who can read that can join. See docs/launchers.md.
 */
#ifndef COMITY_MPI_H_
#define COMITY_MPI_H_

#include <comity/comity.h>
#include <mpi.h>

/* The largest of all ranks' results, which are small numbers from 0 on; comitySystemError where MPI fails. */
static inline comityResult_t comityWorstOfMPI(comityResult_t mine, MPI_Comm mpi_comm) {
  int local = (int)mine, worst = 0;
  if (MPI_Allreduce(&local, &worst, 1, MPI_INT, MPI_MAX, mpi_comm) != MPI_SUCCESS) return comitySystemError;
  return (comityResult_t)worst;
}

/* Joins the communicator of all ranks of `mpi_comm`, with the same rank, and writes its handle to *comm,
 * which the caller gives back by comityCommDestroy or comityCommAbort, before MPI_Finalize or after.
 * Collective over `mpi_comm`, an intracommunicator, which is used during the call only; not inside
 * a group, where the handle would come at its end only.
 * Blocks until all ranks have joined, or COMITY_INIT_TIMEOUT_MS passed. One thread calls it; it needs of MPI
 * what MPI_Allreduce and MPI_Bcast need.
 *
 * Errors, on all ranks or on none: those of comityGetUniqueId on rank 0 and of comityCommInitRank on any;
 * comityInvalidArgument (comm NULL on any rank; an intercommunicator); comitySystemError (MPI failed, if its
 * error handler lets it return). *comm is COMITY_COMM_NULL then on all ranks; comityGetLastError(NULL) has
 * the sentence where Comity failed. MPI_COMM_NULL is comityInvalidArgument on the rank that gives it. */
static inline comityResult_t comityCommInitMPI(comityComm_t* comm, MPI_Comm mpi_comm) {
  comityUniqueId id;
  comityResult_t mine = comm == NULL ? comityInvalidArgument : comitySuccess;
  comityResult_t worst;
  int rank = 0, nranks = 0, inter = 0;
  if (comm != NULL) *comm = COMITY_COMM_NULL;
  if (mpi_comm == MPI_COMM_NULL) return comityInvalidArgument;
  if (MPI_Comm_test_inter(mpi_comm, &inter) != MPI_SUCCESS) return comitySystemError;
  if (inter) return comityInvalidArgument;
  if (MPI_Comm_rank(mpi_comm, &rank) != MPI_SUCCESS || MPI_Comm_size(mpi_comm, &nranks) != MPI_SUCCESS)
    return comitySystemError;
  if (mine == comitySuccess && rank == 0) mine = comityGetUniqueId(&id);
  worst = comityWorstOfMPI(mine, mpi_comm);
  if (worst != comitySuccess) return mine != comitySuccess ? mine : worst;
  if (MPI_Bcast(id.internal, COMITY_UNIQUE_ID_BYTES, MPI_BYTE, 0, mpi_comm) != MPI_SUCCESS)
    return comitySystemError;
  mine = comityCommInitRank(comm, nranks, id, rank);
  worst = comityWorstOfMPI(mine, mpi_comm);
  if (worst == comitySuccess) return comitySuccess;
  if (*comm != COMITY_COMM_NULL) (void)comityCommAbort(*comm);
  *comm = COMITY_COMM_NULL;
  return mine != comitySuccess ? mine : worst;
}

#endif /* COMITY_MPI_H_ */
