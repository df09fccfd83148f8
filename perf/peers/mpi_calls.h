/* The collectives that mpi_collectives.c times: how their buffers are laid out, what a rank must hold
 * afterwards, and the call. Sizes and layouts are those of Comity's `<collective>_perf` programs
 * (perf/README.md). */
#ifndef COMITY_PERF_PEERS_MPI_CALLS_H_
#define COMITY_PERF_PEERS_MPI_CALLS_H_

#include <mpi.h>
#include <stddef.h>
#include <string.h>

/* `whole` floats are the larger of a rank's two buffers; a block is the nranks-th part. Blocks of lengths of
 * their own: `counts` and `begins` by peer, of what is sent as of what is received. */
struct mpi_call {
  float *send, *recv;
  int whole, block, rank, nranks, in_place;
  int *counts, *begins;
};

enum { kReduced = -1, kRoot = 0 };

/* Elements first.. of what rank `from` gave (kReduced: of the sum over ranks) lie at recv_offset. */
struct mpi_piece {
  int from;
  size_t recv_offset, first, count;
};

struct mpi_collective {
  const char* name;
  int has_in_place;
  int in_blocks;                           /* one of a rank's buffers, or both, are a block for each rank */
  int varies;                              /* the blocks have lengths of their own */
  int input_is_block, input_of_root_alone; /* else: the whole, of every rank */
  void (*run)(const struct mpi_call* c);
  /* The i-th piece that this rank must hold; 0 when there are no more. */
  int (*expected)(const struct mpi_call* c, int i, struct mpi_piece* piece);
};

/* Where the input lies: in the receive buffer if in place, at the rank's own block of it where it is one. */
static float* mpi_input(const struct mpi_collective* collective, const struct mpi_call* c) {
  if (!c->in_place) return c->send;
  return collective->input_is_block ? c->recv + (size_t)c->rank * (size_t)c->block : c->recv;
}

static const void* send_or_in_place(const struct mpi_call* c) {
  return c->in_place ? MPI_IN_PLACE : c->send;
}

static void run_all_reduce(const struct mpi_call* c) {
  MPI_Allreduce(send_or_in_place(c), c->recv, c->whole, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

/* In place is the root's affair; elsewhere the input is sent from where it lies. */
static void run_reduce(const struct mpi_call* c) {
  const void* input = !c->in_place ? c->send : c->rank == kRoot ? MPI_IN_PLACE : c->recv;
  MPI_Reduce(input, c->rank == kRoot ? c->recv : NULL, c->whole, MPI_FLOAT, MPI_SUM, kRoot, MPI_COMM_WORLD);
}

/* MPI has one buffer: a program with two copies on the root, which belongs to the call then. */
static void run_broadcast(const struct mpi_call* c) {
  if (!c->in_place && c->rank == kRoot) memcpy(c->recv, c->send, (size_t)c->whole * sizeof(float));
  MPI_Bcast(c->recv, c->whole, MPI_FLOAT, kRoot, MPI_COMM_WORLD);
}

static void run_all_gather(const struct mpi_call* c) {
  MPI_Allgather(send_or_in_place(c), c->block, MPI_FLOAT, c->recv, c->block, MPI_FLOAT, MPI_COMM_WORLD);
}

static void run_reduce_scatter(const struct mpi_call* c) {
  MPI_Reduce_scatter_block(send_or_in_place(c), c->recv, c->block, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static void run_all_to_all(const struct mpi_call* c) {
  MPI_Alltoall(c->send, c->block, MPI_FLOAT, c->recv, c->block, MPI_FLOAT, MPI_COMM_WORLD);
}

/* What two ranks give each other, in units of elements. */
static int mpi_pair_units(int one, int other, int nranks) {
  return 1 + (one + other) % nranks;
}

static void run_all_to_all_v(const struct mpi_call* c) {
  MPI_Alltoallv(c->send, c->counts, c->begins, MPI_FLOAT, c->recv, c->counts, c->begins, MPI_FLOAT,
                MPI_COMM_WORLD);
}

static void run_gather(const struct mpi_call* c) {
  const size_t own = (size_t)c->rank * (size_t)c->block;
  const void* input = !c->in_place ? c->send : c->rank == kRoot ? MPI_IN_PLACE : c->recv + own;
  MPI_Gather(input, c->block, MPI_FLOAT, c->recv, c->block, MPI_FLOAT, kRoot, MPI_COMM_WORLD);
}

static void run_scatter(const struct mpi_call* c) {
  float* input = c->in_place ? c->recv : c->send;
  void* output = c->in_place && c->rank == kRoot ? MPI_IN_PLACE : c->recv;
  MPI_Scatter(input, c->block, MPI_FLOAT, output, c->block, MPI_FLOAT, kRoot, MPI_COMM_WORLD);
}

static void run_send_recv(const struct mpi_call* c) {
  const int next = (c->rank + 1) % c->nranks, before = (c->rank + c->nranks - 1) % c->nranks;
  MPI_Sendrecv(c->send, c->whole, MPI_FLOAT, next, 0, c->recv, c->whole, MPI_FLOAT, before, 0, MPI_COMM_WORLD,
               MPI_STATUS_IGNORE);
}

static void run_barrier(const struct mpi_call* c) {
  (void)c;
  MPI_Barrier(MPI_COMM_WORLD);
}

static int one_piece(struct mpi_piece* piece, int i, int from, size_t first, int count) {
  *piece = (struct mpi_piece){from, 0, first, (size_t)count};
  return i == 0;
}

static int expect_sum(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  return one_piece(piece, i, kReduced, 0, c->whole);
}

static int expect_sum_on_root(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  return c->rank == kRoot && expect_sum(c, i, piece);
}

static int expect_roots(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  return one_piece(piece, i, kRoot, 0, c->whole);
}

static int expect_block_of_sum(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  return one_piece(piece, i, kReduced, (size_t)c->rank * (size_t)c->block, c->block);
}

/* In place the root's own block is not moved. */
static int expect_block_of_root(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  const size_t first = (size_t)c->rank * (size_t)c->block;
  return one_piece(piece, i, kRoot, first, c->block);
}

static int expect_blocks(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  *piece = (struct mpi_piece){i, (size_t)i * (size_t)c->block, 0, (size_t)c->block};
  return i < c->nranks;
}

static int expect_blocks_on_root(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  return c->rank == kRoot && expect_blocks(c, i, piece);
}

static int expect_own_blocks(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  const int more = expect_blocks(c, i, piece);
  piece->first = (size_t)c->rank * (size_t)c->block;
  return more;
}

static int expect_varying_blocks(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  if (i == c->nranks) return 0;
  const int unit = c->counts[i] / mpi_pair_units(i, c->rank, c->nranks);
  int units_before = 0;
  for (int to = 0; to < c->rank; ++to) units_before += mpi_pair_units(i, to, c->nranks);
  *piece = (struct mpi_piece){i, (size_t)c->begins[i], (size_t)(units_before * unit), (size_t)c->counts[i]};
  return 1;
}

static int expect_from_before(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  return one_piece(piece, i, (c->rank + c->nranks - 1) % c->nranks, 0, c->whole);
}

static int expect_nothing(const struct mpi_call* c, int i, struct mpi_piece* piece) {
  (void)c;
  (void)i;
  (void)piece;
  return 0;
}

static const struct mpi_collective kCollectives[] = {
    {"all_reduce", 1, 0, 0, 0, 0, run_all_reduce, expect_sum},
    {"reduce", 1, 0, 0, 0, 0, run_reduce, expect_sum_on_root},
    {"broadcast", 1, 0, 0, 0, 1, run_broadcast, expect_roots},
    {"all_gather", 1, 1, 0, 1, 0, run_all_gather, expect_blocks},
    {"reduce_scatter", 1, 1, 0, 0, 0, run_reduce_scatter, expect_block_of_sum},
    {"all_to_all", 0, 1, 0, 0, 0, run_all_to_all, expect_own_blocks},
    {"all_to_all_v", 0, 1, 1, 0, 0, run_all_to_all_v, expect_varying_blocks},
    {"gather", 1, 1, 0, 1, 0, run_gather, expect_blocks_on_root},
    {"scatter", 1, 1, 0, 0, 1, run_scatter, expect_block_of_root},
    {"send_recv", 0, 0, 0, 0, 0, run_send_recv, expect_from_before},
    {"barrier", 0, 0, 0, 0, 0, run_barrier, expect_nothing},
};

#endif /* COMITY_PERF_PEERS_MPI_CALLS_H_ */
