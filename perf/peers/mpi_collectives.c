/* Times a collective of MPI (float, sum) the way `<collective>_perf --owner-writes` times Comity's: before
 * each call each rank rewrites its input; the ranks start together at the same starting line
 * (perf/job/start_line.h), so that no library's barrier is part of a time; each call's time is its slowest
 * rank's. Rank 0 writes JSON.
 *
 *   mpi_collectives --collective NAME --board FILE -b BYTES -e BYTES -f FACTOR -n CALLS -w WARMUP
 *                   --volume BYTES --seconds S [--pin]
 *
 * NAME is one of mpi_calls.h (all_reduce). FILE is empty or zeros, and shared by all ranks (one machine). -n
 * calls are timed per size and placement, fewer for large sizes (at most --volume bytes) and slow ones (about
 * --seconds), at least 5. --pin puts rank r on the r-th core before MPI starts, for launchers that cannot.
 * Exit status 1 on a wrong element. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <fcntl.h>
#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "perf/job/start_line.h"
#include "perf/peers/mpi_calls.h"

enum { kPeriod = 1021 };
static const uint64_t kSlackNs = 2000;
static const uint64_t kTimeoutNs = 60000000000u;

struct options {
  const struct mpi_collective* collective;
  const char* board;
  size_t min_bytes, max_bytes, factor, volume;
  int calls, warmup, pin;
  double seconds;
};

struct job {
  struct options options;
  struct comity_start_line* line;
  uint64_t* bounce_line; /* a line of its own on the board, and what it holds */
  uint64_t bounce_value;
  int rank, nranks, crowded;
  float period[2 * kPeriod];     /* this rank's input, twice */
  float sum_period[2 * kPeriod]; /* the sum of all ranks' */
  float *send, *recv;
  int *counts, *begins; /* by peer, of blocks of lengths of their own */
  double* times_us;
};

static void die(const char* what) {
  fprintf(stderr, "mpi_collectives: %s\n", what);
  exit(2);
}

static const struct mpi_collective* collective_named(const char* name) {
  for (size_t i = 0; i < sizeof kCollectives / sizeof *kCollectives; ++i) {
    if (strcmp(kCollectives[i].name, name) == 0) return &kCollectives[i];
  }
  die("no such collective");
  return NULL;
}

static struct options parse(int argc, char** argv) {
  struct options o = {kCollectives, NULL, 8, 128u << 20, 4, 1u << 30, 1000, 5, 0, 1.5};
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--pin") == 0) {
      o.pin = 1;
      continue;
    }
    if (i + 1 == argc) die("an option lacks its value");
    const char* value = argv[++i];
    const char* name = argv[i - 1];
    if (strcmp(name, "--collective") == 0)
      o.collective = collective_named(value);
    else if (strcmp(name, "--board") == 0)
      o.board = value;
    else if (strcmp(name, "-b") == 0)
      o.min_bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "-e") == 0)
      o.max_bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "-f") == 0)
      o.factor = strtoull(value, NULL, 10);
    else if (strcmp(name, "-n") == 0)
      o.calls = atoi(value);
    else if (strcmp(name, "-w") == 0)
      o.warmup = atoi(value);
    else if (strcmp(name, "--volume") == 0)
      o.volume = strtoull(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
      o.seconds = atof(value);
    else
      die("unknown option");
  }
  if (o.board == NULL || o.min_bytes < 4 || o.factor < 2 || o.calls < 5) die("see the head of the source");
  return o;
}

/* Before MPI_Init, so that what MPI starts inherits it: launchers say the rank in the environment. */
static void pin_by_rank(void) {
  const char* text = getenv("OMPI_COMM_WORLD_RANK");
  if (text == NULL) text = getenv("PMI_RANK");
  if (text == NULL) die("--pin: the launcher does not say which rank this is");
  cpu_set_t allowed, one;
  sched_getaffinity(0, sizeof allowed, &allowed);
  int left = atoi(text);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || left-- > 0) continue;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) die("cannot pin");
    return;
  }
}

static struct comity_start_line* map_line(const char* path) {
  const int fd = open(path, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) die("cannot open the board");
  void* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) die("cannot map the board");
  close(fd);
  return memory;
}

static void start(struct job* job) {
  const uint64_t slack = job->crowded ? 0 : kSlackNs;
  if (comity_start_together(job->line, job->nranks, job->crowded, slack, kTimeoutNs) != 0)
    die("a rank stayed away");
}

/* The layout of perf/core/pattern.h: a period with a skip at each turn, moved on with each call. */
static size_t position_of(size_t index, size_t shift) {
  return (index % kPeriod + 7 * (index / kPeriod % kPeriod) + 13 * (shift % kPeriod)) % kPeriod;
}

static void write_input(const struct job* job, float* out, size_t count, size_t shift) {
  for (size_t done = 0; done < count;) {
    size_t run = kPeriod - done % kPeriod;
    if (run > count - done) run = count - done;
    memcpy(out + done, job->period + position_of(done, shift), run * sizeof(float));
    done += run;
  }
}

/* What rank `from` puts at a place of its period. */
static float value_of(int from, size_t position) {
  return (float)((position % kPeriod * 31 + (size_t)from * 17) % 997);
}

static size_t count_wrong(const struct job* job, const struct mpi_call* call, size_t shift) {
  size_t wrong = 0;
  struct mpi_piece piece;
  for (int i = 0; job->options.collective->expected(call, i, &piece); ++i) {
    const int moved =
        !(call->in_place && job->options.collective->expected == expect_block_of_root &&
          call->rank == kRoot); /* a scatter in place leaves the root's block where it is: at 0 */
    const float* actual = call->recv + (moved ? piece.recv_offset : piece.first);
    for (size_t k = 0; k < piece.count; ++k) {
      const size_t position = position_of(piece.first + k, shift);
      const float right = piece.from == kReduced ? job->sum_period[position] : value_of(piece.from, position);
      wrong += actual[k] != right;
    }
  }
  return wrong;
}

static double timed_call(struct job* job, const struct mpi_call* call, size_t shift) {
  const struct mpi_collective* collective = job->options.collective;
  const int gives = !collective->input_of_root_alone || call->rank == kRoot;
  const int count = collective->input_is_block ? call->block : call->whole;
  if (gives) write_input(job, mpi_input(collective, call), (size_t)count, shift);
  start(job);
  const uint64_t begin = comity_clock_ns();
  collective->run(call);
  return (double)(comity_clock_ns() - begin) / 1e3;
}

static int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* How many calls to time, the same on all ranks: by number, by volume, and by what warming up took. */
static int calls_for(const struct job* job, size_t bytes, double call_us) {
  double calls = job->options.calls;
  if (bytes > 0) calls = fmin(calls, fmax(5, (double)(job->options.volume / bytes)));
  calls = fmin(calls, fmax(5, job->options.seconds * 1e6 / fmax(call_us, 0.01)));
  int agreed = (int)calls;
  MPI_Bcast(&agreed, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return agreed;
}

/* The line latency now, the best of four batches, on the rank that measures; it is put beside the times. */
static double line_now_ns(struct job* job) {
  double best = 0;
  start(job);
  for (int batch = 0; job->rank < 2 && batch < 4; ++batch, job->bounce_value += 1000) {
    const double ns = comity_bounce_ns(job->bounce_line, job->rank, job->bounce_value, 500);
    best = batch == 0 ? ns : fmin(best, ns);
  }
  start(job);
  return best;
}

/* Lays out blocks of one to nranks units (all_to_all_v_perf); their sum. */
static int vary(struct job* job, int elements) {
  const int n = job->nranks, unit = elements / (n * (n + 1) / 2);
  int sum = 0;
  for (int peer = 0; peer < n; ++peer) {
    job->counts[peer] = unit * mpi_pair_units(job->rank, peer, n);
    job->begins[peer] = sum;
    sum += job->counts[peer];
  }
  return sum;
}

/* Measures one size and placement; rank 0 prints its JSON object. Wrong elements on this rank. */
static size_t measure(struct job* job, size_t bytes, int in_place) {
  const struct mpi_collective* collective = job->options.collective;
  const int elements = (int)(bytes / sizeof(float)), block = elements / job->nranks;
  const int whole = collective->varies      ? vary(job, elements)
                    : collective->in_blocks ? block * job->nranks
                                            : elements;
  const struct mpi_call call = {job->send,   job->recv, whole,       block,      job->rank,
                                job->nranks, in_place,  job->counts, job->begins};
  double call_us = 0; /* of the last one: the first ones pay for what is kept afterwards */
  for (int i = 0; i < job->options.warmup; ++i) call_us = timed_call(job, &call, (size_t)i);
  const int calls = calls_for(job, bytes, call_us);
  const double line_before_ns = job->crowded || job->nranks < 2 ? 0 : line_now_ns(job);
  for (int i = 0; i < calls; ++i) job->times_us[i] = timed_call(job, &call, (size_t)i);
  const size_t wrong = count_wrong(job, &call, (size_t)calls - 1);
  const double line_after_ns = job->crowded || job->nranks < 2 ? 0 : line_now_ns(job);
  MPI_Allreduce(MPI_IN_PLACE, job->times_us, calls, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  qsort(job->times_us, (size_t)calls, sizeof(double), by_value);
  if (job->rank == 0) {
    printf(
        "{\"median_us\": %.4f, \"min_us\": %.4f, \"max_us\": %.4f, \"iterations\": %d, \"line_ns\": [%.1f, "
        "%.1f]}",
        job->times_us[calls / 2], job->times_us[0], job->times_us[calls - 1], calls, line_before_ns,
        line_after_ns);
  }
  return wrong;
}

static void prepare(struct job* job) {
  MPI_Comm_rank(MPI_COMM_WORLD, &job->rank);
  MPI_Comm_size(MPI_COMM_WORLD, &job->nranks);
  job->crowded = job->nranks > sysconf(_SC_NPROCESSORS_ONLN);
  job->line = map_line(job->options.board);
  job->bounce_line = (uint64_t*)((char*)job->line + 1024);
  for (int i = 0; i < 2 * kPeriod; ++i) {
    job->period[i] = value_of(job->rank, (size_t)i);
    job->sum_period[i] = 0;
    for (int rank = 0; rank < job->nranks; ++rank) job->sum_period[i] += value_of(rank, (size_t)i);
  }
  job->send = aligned_alloc(4096, (job->options.max_bytes + 4095) / 4096 * 4096);
  job->recv = aligned_alloc(4096, (job->options.max_bytes + 4095) / 4096 * 4096);
  job->times_us = calloc((size_t)job->options.calls, sizeof(double));
  job->counts = calloc(2 * (size_t)job->nranks, sizeof(int));
  if (job->send == NULL || job->recv == NULL || job->times_us == NULL || job->counts == NULL)
    die("no memory");
  job->begins = job->counts + job->nranks;
  memset(job->send, 0, job->options.max_bytes);
  memset(job->recv, 0, job->options.max_bytes);
}

int main(int argc, char** argv) {
  static struct job job;
  job.options = parse(argc, argv);
  if (job.options.pin) pin_by_rank();
  MPI_Init(&argc, &argv);
  prepare(&job);
  unsigned long wrong = 0;
  const char* separator = "";
  const struct options* o = &job.options;
  const int has_size = o->collective->run != run_barrier;
  if (job.rank == 0) printf("{\"results\": [");
  for (size_t bytes = has_size ? o->min_bytes : 0; bytes <= o->max_bytes; bytes *= o->factor) {
    if (job.rank == 0) printf("%s\n{\"size_bytes\": %zu, \"out_of_place\": ", separator, bytes);
    wrong += measure(&job, bytes, 0);
    if (job.rank == 0) printf(", \"in_place\": ");
    if (o->collective->has_in_place) {
      wrong += measure(&job, bytes, 1);
    } else if (job.rank == 0) {
      printf("null");
    }
    if (job.rank == 0) printf("}");
    separator = ",";
    if (!has_size) break;
  }
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_UNSIGNED_LONG, MPI_SUM, MPI_COMM_WORLD);
  if (job.rank == 0) printf("],\n\"nranks\": %d, \"wrong\": %lu}\n", job.nranks, wrong);
  MPI_Finalize();
  return wrong == 0 ? 0 : 1;
}
