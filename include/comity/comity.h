/* Comity: collective communication among ranks, over whatever devices and links join them.
 *
 * A rank is one member of a communicator: a process, or a thread of one, with a number from 0 to nranks - 1.
 * Every rank of a communicator makes the same collective calls in the same order, each with its own buffers:
 *
 *   comityUniqueId id;
 *   if (rank == 0) comityGetUniqueId(&id);
 *   ... the caller passes id to the other ranks: a file, a socket, an environment variable, a launcher ...
 *   comityComm_t comm;
 *   comityCommInitRank(&comm, nranks, id, rank);
 *   comityAllReduce(send, recv, count, comityFloat32, comitySum, comm, NULL);
 *   comityCommDestroy(comm);
 *
 * Results
 *   Every function but the two that return text returns a comityResult_t, and comitySuccess alone means that
 *   it did what it says. comityInvalidArgument: the call had no effect, on this rank or another; the same
 *   goes for comityInvalidUsage that is found before anything was sent. Any other error of a collective ends
 *   the communicator: every rank gets that error, from the call, from comityCommGetAsyncError or from its
 *   next call, and what remains is comityCommAbort or comityCommDestroy. comityGetLastError says who, what,
 *   where and what to try.
 *
 * Buffers
 *   belong to the caller. Addresses are multiples of the element's size. Counts are elements, not bytes, from
 *   0 to as many as memory holds. Until the call is complete, a send buffer may be read but not written, and
 *   a receive buffer neither. Where two arguments overlap in another way than the one that a function calls
 *   "in place", the result is undefined. After an error the content of receive buffers is undefined.
 *
 * Streams
 *   The last argument of a collective, a Send or a Recv orders it. NULL means none: on memory of the host the
 *   call is complete when it returns, and runs on the caller's thread. With a stream of comityStreamCreate it
 *   returns once it is enqueued, and is carried out after all that was enqueued on that stream before; its
 *   error comes from comityStreamSynchronize, from comityCommGetAsyncError or from the communicator's next
 *   call. Calls on one communicator are carried out in the order in which they were made, whatever their
 *   streams; those on different communicators and streams overlap. Ranks may issue different communicators in
 *   different orders, on different streams or inside one group.
 *
 * Threads
 *   Different communicators, streams and events may be used by different threads at the same time. One
 *   communicator is used by one thread at a time, except for comityCommAbort, comityCommGetAsyncError,
 *   comityGetLastError, comityCommCount and comityCommUserRank, which any thread may call until the
 *   communicator is destroyed or aborted. One stream or event is used by one thread at a time, except for the
 *   functions that only wait and ask (Synchronize, Query).
 *
 * Blocking
 *   Stated for each function; "does not block" means that it waits for no other rank.
 *
 * Processes
 *   A child made by fork() holds nothing of its parent's: descriptors and mappings of Comity are closed in
 *   it, and what the parent and its peers do goes on undisturbed. A communicator belongs to the process
 *   that made it; in a child every call with it is comityInvalidUsage. The child may start anew, as a
 *   process of its own: join with an id that its parent took before or after the fork (a launcher that
 *   takes the id and then forks the ranks is right), take ids, allocate memory. Memory of comityMemAlloc
 *   from before the fork stays mapped in the child and is shared with the parent, as that of mmap's
 *   MAP_SHARED is; the child may free it without effect on the parent. Fork outside of a group; no other
 *   call is in the way.
 *
 * This header is C99 and C++; comity.hpp is C++ with owners and types. `comity config` lists the settings
 * that change behaviour, and where each value comes from.
 */
#ifndef COMITY_COMITY_H_
#define COMITY_COMITY_H_

#include <limits.h>
#include <stddef.h>

#define COMITY_MAJOR 0
#define COMITY_MINOR 1
#define COMITY_PATCH 0

/* A version as one number that grows with it: COMITY_VERSION(1, 2, 3) is 10203. */
#define COMITY_VERSION(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))
#define COMITY_VERSION_CODE COMITY_VERSION(COMITY_MAJOR, COMITY_MINOR, COMITY_PATCH)

#define COMITY_UNIQUE_ID_BYTES 128
#define COMITY_COMM_NULL NULL

#define COMITY_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Types ------------------------------------------------------------------------------------------- */

/* One rank's handle of a communicator. */
typedef struct comityComm* comityComm_t;

/* What the ranks of a communicator meet by: the meeting's addresses, and a secret that every connection
 * proves knowledge of. Plain bytes, to be copied as they are; who reads them may join, so pass them where
 * only the ranks see. */
typedef struct {
  char internal[COMITY_UNIQUE_ID_BYTES];
} comityUniqueId;

/* An ordered queue of work that is carried out behind the caller's back. */
typedef struct comityStream* comityStream_t;

/* A mark in a stream's work: what was enqueued before it was recorded. */
typedef struct comityEvent* comityEvent_t;

typedef enum {
  comitySuccess = 0,
  comityUnhandledDeviceError = 1, /* a device's runtime failed */
  comitySystemError = 2,          /* the operating system refused: memory, sockets, descriptors */
  comityInternalError = 3,        /* a defect of Comity itself */
  comityInvalidArgument = 4,      /* this argument is wrong; the call had no effect */
  comityInvalidUsage = 5,         /* the arguments are right but not now, or ranks made different calls */
  comityRemoteError = 6,          /* another rank failed, died or aborted */
  comityInProgress = 7,           /* not an error: not finished yet */
  comityTimeout = 8,              /* a deadline passed */
  comityNumResults = 9
} comityResult_t;

/* Element types; the size in bytes is the name's number of bits over 8. float8 are the OCP formats: e4m3 has
 * no infinities, and finite values too large for either saturate. */
typedef enum {
  comityInt8 = 0,
  comityChar = 0,
  comityUint8 = 1,
  comityInt32 = 2,
  comityInt = 2,
  comityUint32 = 3,
  comityInt64 = 4,
  comityUint64 = 5,
  comityFloat16 = 6,
  comityHalf = 6,
  comityFloat32 = 7,
  comityFloat = 7,
  comityFloat64 = 8,
  comityDouble = 8,
  comityBfloat16 = 9,
  comityFloat8e4m3 = 10,
  comityFloat8e5m2 = 11,
  comityNumTypes = 12
} comityDataType_t;

/* Reductions, element by element. Integer sums and products wrap. max and min of a NaN are NaN. Every rank
 * receives the same bits.
 *
 * Types of 8 and 16 bits of floating point accumulate in 32. A result is rounded once; on its way partial
 * results may be rounded too, at most once on each level of the hierarchy (inside a host, across hosts), or
 * log2 of its members where a level has more than 64; the result's own rounding is the last level's. They are
 * not rounded in blocks below 256 bytes, and never with COMITY_ACCUMULATE=fp32, at the price of bytes on the
 * wire: then the result is that of fp32, rounded once. COMITY_ALGO may force more roundings.
 *
 * With d roundings in all and u half the distance from 1 to the next number of the type, a sum or an average
 * is within ((1 + u)^d - 1) * (sum or average of the magnitudes) of the exact one, and each product's factor
 * of error is (1 + u)^(nranks - 1) at most; in subnormal results half of the least number is added for each
 * rounding, in all of them what fp32 rounds. */
typedef enum {
  comitySum = 0,
  comityProd = 1,
  comityMax = 2,
  comityMin = 3,
  comityAvg = 4, /* the sum divided by nranks before it is first rounded, so that no sum overflows the type
                    whose average fits (bfloat16: while what is folded at once fits into 32 bits);
                    integers truncate toward zero */
  comityNumOps = 5,
  comityMaxRedOp = 0x7fffffff /* numbers from comityNumOps on: comityRedOpCreatePreMulSum */
} comityRedOp_t;

/* Where a scalar lies, and until when it is read. */
typedef enum {
  comityScalarDevice = 0,       /* read when a call that uses the operation is carried out */
  comityScalarHostImmediate = 1 /* host memory, read before the function returns */
} comityScalarResidence_t;

/* Settings of one communicator. Make one with COMITY_CONFIG_INITIALIZER, then set what shall differ: a
 * field left alone has the value that `comity config` shows, in comityCommSplit that of the communicator
 * which is split. Fields are only ever appended: a library older than the program ignores those it does not
 * know if they were left alone, and refuses them if not. Texts are copied; they have no control characters,
 * and at most 4096 bytes, a name 255. */
typedef struct comityConfig {
  size_t size;          /* sizeof(comityConfig_t) of the program */
  unsigned int magic;   /* COMITY_CONFIG_MAGIC */
  unsigned int version; /* COMITY_VERSION_CODE of the program */
  int blocking;      /* 1 (default): init, split, finalize and calls with a NULL stream return when they are
                        done. 0: they return comityInProgress at once, and go on behind the caller's back;
                        poll comityCommGetAsyncError. */
  int timeoutMs;     /* a call on which nothing gets on for so long fails, and so does finalize if the
                        other ranks do not come for so long; 0: waits for ever. As COMITY_TIMEOUT, which
                        is in seconds. */
  int initTimeoutMs; /* As COMITY_INIT_TIMEOUT_MS, at least 1. Of a split: for how long its ranks are waited
                        for; left alone there: as in a collective. */
  const char* transports; /* As COMITY_TRANSPORTS; equal on all ranks. Not of a split. */
  const char* interfaces; /* As COMITY_SOCKET_IFNAME. Not of a split. */
  int deterministic;      /* 1: the same bits for any transport, topology and timing; equal on all ranks.
                             As COMITY_DETERMINISTIC. */
  int maxLanes;           /* plans use at most so many lanes, up to 1024; 0: as many as they like; equal on
                             all ranks. As COMITY_MAX_LANES. */
  int progressCpu;        /* core of the progress thread; -1: any. As COMITY_PROGRESS_CPU. */
  const char* name;       /* for people: stands in the errors of the communicator, and in what the log says
                             of it. Ranks may give different ones. */
} comityConfig_t;

#define COMITY_CONFIG_MAGIC 0x79746d63u
#define COMITY_CONFIG_UNDEF_INT INT_MIN
#define COMITY_CONFIG_UNDEF_TEXT NULL
#define COMITY_CONFIG_INITIALIZER                                                                            \
  {                                                                                                          \
    sizeof(comityConfig_t), COMITY_CONFIG_MAGIC, COMITY_VERSION_CODE, COMITY_CONFIG_UNDEF_INT,               \
        COMITY_CONFIG_UNDEF_INT, COMITY_CONFIG_UNDEF_INT, COMITY_CONFIG_UNDEF_TEXT,                          \
        COMITY_CONFIG_UNDEF_TEXT, COMITY_CONFIG_UNDEF_INT, COMITY_CONFIG_UNDEF_INT, COMITY_CONFIG_UNDEF_INT, \
        COMITY_CONFIG_UNDEF_TEXT                                                                             \
  }

/* The colour of a rank that gets no communicator from comityCommSplit. */
#define COMITY_SPLIT_NOCOLOR (-1)

/* ---- Version and errors ------------------------------------------------------------------------------ */

/* Writes the library's COMITY_VERSION_CODE to *version: compare with the header's to find a mixed
 * installation. Any thread, does not block.
 * Errors: comityInvalidArgument (version is NULL). */
COMITY_API comityResult_t comityGetVersion(int* version);

/* A few words on what `result` means; for a value that is no comityResult_t, words that say so. Static
 * storage, never NULL. Any thread, does not block. */
COMITY_API const char* comityGetErrorString(comityResult_t result);

/* The sentence that explains the error that `comm` has come to: which rank, what failed, where, what to try.
 * With NULL, or a communicator that has come to none or is destroyed, the last error of any call of this
 * thread (a failed comityCommInitRank leaves no communicator to ask). "" if there was none. The text is the
 * library's, never NULL, and stays valid until this thread's next comityGetLastError. Any thread, does not
 * block. */
COMITY_API const char* comityGetLastError(comityComm_t comm);

/* ---- Communicators ----------------------------------------------------------------------------------- */

/* Writes a new id to *uniqueId and opens the meeting point that it names in this process. One rank calls it,
 * once for each communicator, and passes the id to all; its process must live until every rank's
 * comityCommInitRank returned. COMITY_SOCKET_IFNAME and COMITY_SOCKET_ADDRESS choose the interface. Any
 * thread; does not block.
 * Errors: comityInvalidArgument (NULL, or a setting that makes no sense), comitySystemError (no address, or
 * a port in use). */
COMITY_API comityResult_t comityGetUniqueId(comityUniqueId* uniqueId);

/* Joins the communicator of `commId` as rank `rank` of `nranks`, at most 2^20, and writes its handle to
 * *comm, which the caller gives back by comityCommDestroy or comityCommAbort. Blocks until all ranks have
 * joined, or COMITY_INIT_TIMEOUT_MS passed. One id makes one communicator. Several ranks may be threads of
 * one process, each calling this; one thread that is several ranks wraps its calls into a group, and has the
 * handles when comityGroupEnd returns. On an error *comm is COMITY_COMM_NULL.
 * Errors: comityInvalidArgument (comm NULL, nranks < 1 or > 2^20, rank not in [0, nranks), a damaged id, a
 * rank given twice, ranks that disagree on nranks, a setting that makes no sense), comityInvalidUsage (ranks
 * differ in version or in a setting that all must share: names both; or no transport that is allowed joins
 * two of them), comityTimeout (names the missing ranks), comityRemoteError (another rank failed, or knows
 * another secret), comitySystemError. What keeps one rank from joining every rank gets to hear, in the same
 * words. */
COMITY_API comityResult_t comityCommInitRank(comityComm_t* comm, int nranks, comityUniqueId commId, int rank);

/* Makes one communicator of `ndev` ranks, at most 1024, that are all in this process, and writes rank i's
 * handle to comms[i]. `comms` has room for ndev handles; each is given back separately. devlist[i] is the
 * number of the device that rank i works on; NULL means 0 .. ndev - 1. On a machine without accelerators
 * every number stands for the host. Collectives on these handles are called from one thread inside a group,
 * or from a thread for each handle. Blocks for the time of the set-up; inside a group it is ndev calls of
 * comityCommInitRank, and the handles are there when comityGroupEnd returns. On an error all comms[i] are
 * COMITY_COMM_NULL.
 * Errors: comityInvalidArgument (comms NULL, ndev < 1 or > 1024, a negative device), those of
 * comityGetUniqueId and comityCommInitRank. */
COMITY_API comityResult_t comityCommInitAll(comityComm_t* comms, int ndev, const int* devlist);

/* comityCommInitRank with settings of this communicator's own; NULL: none. With config->blocking == 0 it
 * returns comityInProgress at once, and *comm is a handle that takes no call before comityCommGetAsyncError
 * says comitySuccess; comityCommAbort ends it at any moment, and comityCommDestroy is for it what
 * comityCommAbort is while it is not done. If init fails, comityCommGetAsyncError says why, and the handle
 * is given back by comityCommAbort. A config of a group's init is one of a blocking communicator.
 * Errors: those of comityCommInitRank; comityInvalidArgument (a size, magic or version that is none, a
 * value out of range, a field that this library does not know). */
COMITY_API comityResult_t comityCommInitRankConfig(comityComm_t* comm, int nranks, comityUniqueId commId,
                                                   int rank, comityConfig_t* config);

/* Joins the communicator that the launcher started this process for: rank, number of ranks and meeting point
 * come from what it left in the environment (torchrun, Open MPI, MPICH and other Hydra, PMIx, Slurm), or from
 * COMITY_RANK, COMITY_NRANKS and COMITY_RENDEZVOUS, a file on a folder that all ranks share. The README says
 * which of them protects the secret against whom. A process started by none of them is rank 0 of 1. One
 * thread of a process at a time, and not inside a group; otherwise as comityCommInitRank.
 * Errors: those of comityCommInitRank; comityInvalidUsage (inside a group; another thread is inside it; an
 * environment that lacks something, with its name), comityRemoteError and comitySystemError (COMITY_PORT is
 * in use: by whom). */
COMITY_API comityResult_t comityCommInitEnv(comityComm_t* comm);

/* Makes one communicator of each set of ranks that give the same `color`; within it, ranks are numbered by
 * `key`, equal keys by their rank in `comm`. color: at least 0, or COMITY_SPLIT_NOCOLOR: this rank takes
 * part in the call and *newcomm is COMITY_COMM_NULL. The new communicator uses the connections of `comm`,
 * opens none, and outlives it. `config`: its own settings, NULL: those of `comm`; ranks of one colour give
 * equal values of deterministic and maxLanes, and transports and interfaces are those of `comm`. Collective:
 * called by every rank of `comm`, in order with its other calls; inside a group it is made at the group's
 * end. Blocks, or, if `comm` is not blocking (config->blocking is about the new one's calls), returns
 * comityInProgress at once and goes on behind the caller's back, in order with what is called on `comm`
 * afterwards; a group's end does, too. comityCommGetAsyncError says comityInProgress of `comm`, and of
 * *newcomm until that can be used; neither its rank nor its size is known before. If it fails,
 * comityCommGetAsyncError of *newcomm says why. Aborting *newcomm meanwhile returns at once, and the others
 * get a communicator on which this rank has aborted; aborting `comm` ends both; comityCommDestroy is for
 * *newcomm what comityCommAbort is while it is not done, and of `comm` waits for it.
 * Errors: comityInvalidArgument (newcomm NULL, a negative colour that is not COMITY_SPLIT_NOCOLOR, those of
 * comityCommInitRankConfig about a config, transports or interfaces that are not those of `comm`: nothing
 * happened); comityInvalidUsage (configs that differ: names both) and comitySystemError (what a rank could
 * not get), both on every rank of that colour, and `comm` goes on; those of a collective on `comm`, which end
 * it: comityTimeout where initTimeoutMs passed before every rank came. */
COMITY_API comityResult_t comityCommSplit(comityComm_t comm, int color, int key, comityComm_t* newcomm,
                                          comityConfig_t* config);

/* Completes what was begun on `comm` on this rank, and waits until every rank has called it too; compares
 * how many calls each made, so that a call that one rank left out is told here at the latest. Afterwards
 * only comityCommDestroy, comityCommAbort and what asks about the communicator may be called. Blocks, or,
 * if `comm` is not blocking, returns comityInProgress. The others are waited for as long as the timeout of
 * `comm` says (timeoutMs, COMITY_TIMEOUT): by default for ever.
 * Errors: comityInvalidUsage (inside a group; ranks made different numbers of calls: names both),
 * comityTimeout (on every rank; names those that did not call it in time), those of a collective. */
COMITY_API comityResult_t comityCommFinalize(comityComm_t comm);

/* Gives back `comm` and all that it holds. Every rank calls it; it tells the others that this rank leaves in
 * order and does not wait for them to call it. Memory of comityMemAlloc stays. Blocks until this rank's calls
 * on it have ended that are on streams, behind the caller's back or inside another thread, which may wait
 * for other ranks (comityCommAbort, from another thread, ends that), and then for some tens of milliseconds
 * at most: what this rank sent and a peer has not taken yet is kept on its way behind the caller's back.
 * exit() waits for that as long as bytes move, and at most 30 s while a living peer takes nothing; _exit()
 * and a signal that kills do not, and may cost the peers data. A handle that is being made, could not be made
 * or, not blocking, is being finalized it aborts, as comityCommAbort does.
 * Errors: comityInvalidArgument (NULL, or a handle that is none or dead) and comityInvalidUsage (inside a
 * group; another thread is inside comityCommFinalize; a handle of the parent's after a fork): nothing
 * happened. Else the handle is dead, calls with it are refused, and what is returned is comitySuccess or the
 * error that the communicator had, whichever that is. */
COMITY_API comityResult_t comityCommDestroy(comityComm_t comm);

/* Ends `comm` at once, from any thread: each of its pending calls, in whichever thread, returns
 * comityRemoteError within 100 ms, and the other ranks get that error, naming this one. Then gives back what
 * the communicator holds; the handle is dead afterwards. What pending calls were to write is undefined, and
 * peers may still read or write the buffers of pending calls until every rank has returned from them: do
 * not reuse or free those before. Blocks until the pending calls have left.
 * Errors: comityInvalidArgument (NULL, or a handle that is none or dead). */
COMITY_API comityResult_t comityCommAbort(comityComm_t comm);

/* Writes to *asyncError the error that `comm` has come to since it was made, also through what other ranks
 * reported: comitySuccess while all is well. Of a communicator that does not block it is comityInProgress
 * while it is being made, split or finalized and while its calls with a NULL stream are carried out. Ask from
 * another thread while a call waits; comityGetLastError has the sentence. Any thread, does not block; takes
 * a lock that is held for moments only, some tens of nanoseconds.
 * Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityCommGetAsyncError(comityComm_t comm, comityResult_t* asyncError);

/* Writes the number of ranks of `comm` to *count. Any thread, does not block.
 * Errors: comityInvalidArgument, comityInvalidUsage (it is being split off). */
COMITY_API comityResult_t comityCommCount(comityComm_t comm, int* count);

/* Writes this handle's rank to *rank. Any thread, does not block.
 * Errors: comityInvalidArgument, comityInvalidUsage (it is being split off). */
COMITY_API comityResult_t comityCommUserRank(comityComm_t comm, int* rank);

/* ---- Memory ------------------------------------------------------------------------------------------ */

/* Allocates `size` bytes that other ranks on this host can reach directly: collectives on such buffers skip
 * a copy and are the fastest. Aligned to at least 128 bytes, content undefined; *ptr is the caller's until
 * comityMemFree. A size of 0 gives NULL. Not bound to a communicator. Nothing of it outlives the process,
 * however that ends. Any thread, does not block. Errors: comityInvalidArgument (ptr is NULL),
 * comitySystemError (the system or COMITY_ARENA_CAP refuses the size; *ptr is NULL). */
COMITY_API comityResult_t comityMemAlloc(void** ptr, size_t size);

/* Allocates `size` bytes of memory of a device that COMITY_DEVICES opened, by its name ("opencl:1"; "opencl"
 * is its device 0; "host": as comityMemAlloc). Calls take its addresses as buffers; the CPU may not. Aligned
 * to at least 128 bytes, content undefined; *ptr is the caller's until comityMemFree. A size of 0 gives
 * NULL. Any thread; blocks as the device's runtime does.
 * Errors: comityInvalidArgument (ptr or device is NULL, no such device: says which there are),
 * comitySystemError (no memory), comityUnhandledDeviceError; *ptr is NULL. */
COMITY_API comityResult_t comityMemAllocOn(void** ptr, size_t size, const char* device);

/* Copies `size` bytes between memory of any kinds: of the host, of devices, of one or of two. The ranges do
 * not overlap. Blocks until it is done; it is in no order with a user's streams, nor with calls that have not
 * ended. Any thread.
 * Errors: comityInvalidArgument (a NULL, or memory that is no whole part of one allocation),
 * comitySystemError, comityUnhandledDeviceError. */
COMITY_API comityResult_t comityMemCopy(void* dst, const void* src, size_t size);

/* Frees what comityMemAlloc or comityMemAllocOn gave; NULL is accepted and ignored. No collective may be
 * using it, on any rank that shares it: it is free to go when the collectives that named it are complete on
 * this rank. Any thread, does not block but on a device, whose runtime may wait for its other work.
 * Errors: comityInvalidArgument (no such allocation). */
COMITY_API comityResult_t comityMemFree(void* ptr);

/* Tells `comm` that [buff, buff + size), memory of the caller's own, will be used again and again, and
 * writes to *handle what comityCommDeregister takes. A hint: it may make calls on the buffer faster and
 * never changes what they do. The memory must stay until it is deregistered. Overlapping registrations are
 * counted. Does not block, not collective.
 * Errors: comityInvalidArgument (NULL, size 0, a range that wraps), comityInvalidUsage (`comm` takes no
 * calls). */
COMITY_API comityResult_t comityCommRegister(comityComm_t comm, void* buff, size_t size, void** handle);

/* Takes a registration back; destroying the communicator takes back all of them. No collective may be using
 * the buffer. Does not block.
 * Errors: comityInvalidArgument (a handle that is not `comm`'s or was taken back), comityInvalidUsage (`comm`
 * takes no calls). */
COMITY_API comityResult_t comityCommDeregister(comityComm_t comm, void* handle);

/* ---- Streams and events ------------------------------------------------------------------------------ */
/* A thread of the library carries out what is enqueued, and sleeps while there is nothing. A stream belongs
 * to no communicator. After a call on a stream fails, its communicator is at its end, and what follows on
 * the stream with other communicators is carried out. */

/* Makes a stream; given back by comityStreamDestroy. Any thread, does not block.
 * Errors: comityInvalidArgument (NULL, or a COMITY_PROGRESS_CPU that is no core's number), comitySystemError
 * (no memory, no thread). */
COMITY_API comityResult_t comityStreamCreate(comityStream_t* stream);

/* Makes a stream of one that the user made by a device's own runtime, of the device of this name,
 * which COMITY_DEVICES opened; NULL: its default stream, where it has one. A call on it begins when the work
 * has ended that the user put there before the call, and work that the user puts there behind the call
 * begins when the call has ended; the host waits for neither. Other streams of the device go on. Its buffers
 * may be of that device or of any other memory. Events and waits of comityEventRecord and
 * comityStreamWaitEvent are about calls; work of the user's behind comityStreamWaitEvent waits too. `native`
 * stays until the stream is given back and what is on it has ended. Given back by comityStreamDestroy. Any
 * thread, does not block. Errors: comityInvalidArgument (stream or device is NULL, no such device, `native`
 * is none of its streams), comityInvalidUsage (the device has no streams, or this one is being captured),
 * comitySystemError. */
COMITY_API comityResult_t comityStreamWrap(comityStream_t* stream, const char* device, void* native);

/* Blocks until all that was enqueued on `stream` before has ended, whether well or not. Returns the first
 * error of a call on it that no comityStreamSynchronize returned before.
 * Errors: comityInvalidArgument (no stream), comityInvalidUsage (this thread has a group open); those of
 * the calls. */
COMITY_API comityResult_t comityStreamSynchronize(comityStream_t stream);

/* comitySuccess if all that was enqueued has ended, comityInProgress if not. Does not block, and tells no
 * call's error. Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityStreamQuery(comityStream_t stream);

/* Gives the stream back. What is on it is still carried out; nothing more can be put on it. Does not block.
 * Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityStreamDestroy(comityStream_t stream);

/* What is enqueued on `stream` from now on waits until what `event` marks has ended. An event that was never
 * recorded holds nothing up. Does not block. Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityStreamWaitEvent(comityStream_t stream, comityEvent_t event);

/* Makes an event; given back by comityEventDestroy. Any thread, does not block.
 * Errors: comityInvalidArgument (NULL), comitySystemError. */
COMITY_API comityResult_t comityEventCreate(comityEvent_t* event);

/* Marks all that is enqueued on `stream` now; an earlier mark of the event is forgotten, except by streams
 * that wait for it already. Does not block. Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityEventRecord(comityEvent_t event, comityStream_t stream);

/* comitySuccess if what the event marks has ended, or it was never recorded; comityInProgress if not. Does
 * not block. Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityEventQuery(comityEvent_t event);

/* Blocks until what the event marks has ended. Errors: comityInvalidArgument, comityInvalidUsage (this thread
 * has a group open). */
COMITY_API comityResult_t comityEventSynchronize(comityEvent_t event);

/* Gives the event back, also while a stream waits for it, which goes on waiting. Does not block.
 * Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityEventDestroy(comityEvent_t event);

/* ---- Groups ------------------------------------------------------------------------------------------ */

/* Collects the calls that this thread makes until the matching comityGroupEnd, which then carries them out
 * together: so one thread can drive several communicators of one process without waiting for itself, and
 * ranks exchange by comitySend and comityRecv without regard to their order. Calls inside a group check
 * their arguments and return at once; a call refused there is not in the group. Collectives on one
 * communicator keep their order; its Sends and Recvs are carried out together, as one call at the place of
 * the first of them. comityCommInitRank, comityCommInitRankConfig, comityCommInitAll and comityCommSplit may
 * be in a group, too: they are made after its other calls, if those went well, all at once, the splits of
 * one communicator in their order; on an error of one, all handles that the group was to make are
 * COMITY_COMM_NULL, and where they are to be written must stay until the end. comityCommInitEnv,
 * comityCommFinalize, comityCommDestroy, comityStreamSynchronize and comityEventSynchronize are
 * comityInvalidUsage inside a group; what is not named here acts at once, as outside. Groups nest; the
 * outermost end counts. Thread-local, does not block. Never fails. */
COMITY_API comityResult_t comityGroupStart(void);

/* Ends the group. The outermost end carries out the calls collected; it blocks until each with a NULL
 * stream is complete, and returns when those with a stream are enqueued. Returns the first error, in the
 * order of the calls, then of the inits and splits: of one that was refused inside the group, in which case
 * nothing of the group is carried out, or of one that failed. comityInProgress: calls or splits of
 * communicators that do not block go on behind the caller's back.
 * Errors: comityInvalidUsage (no group is open in this thread); those of the calls inside. */
COMITY_API comityResult_t comityGroupEnd(void);

/* ---- Operations -------------------------------------------------------------------------------------- */

/* Makes an operation that multiplies each element of this rank's input by *scalar and then sums; ranks may
 * give different scalars. *scalar has type `datatype`, which is that of the calls that use the operation;
 * integers wrap, and for types of 8 and 16 bits of floating point the products are kept in 32. Written to
 * *op, which is valid with `comm` alone until comityRedOpDestroy or the end of `comm`: elsewhere or later it
 * is comityInvalidArgument. Does not block.
 * Errors: comityInvalidArgument (NULL, a datatype or residence that is none, a dead comm),
 * comityInvalidUsage (`comm` takes no calls now, or another thread is inside one). */
COMITY_API comityResult_t comityRedOpCreatePreMulSum(comityRedOp_t* op, void* scalar,
                                                     comityDataType_t datatype,
                                                     comityScalarResidence_t residence, comityComm_t comm);

/* Gives the operation back; calls that were made with it go on. Does not block.
 * Errors: comityInvalidArgument (no operation of `comm`'s own), comityInvalidUsage (`comm` takes no calls
 * now, or another thread is inside one). */
COMITY_API comityResult_t comityRedOpDestroy(comityRedOp_t op, comityComm_t comm);

/* ---- Collectives ------------------------------------------------------------------------------------- */
/* Each is called by every rank of `comm` in the same order, with the same count, datatype, op and root.
 * Each blocks until complete (NULL stream), as long as its peers live and it gets on within COMITY_TIMEOUT.
 * A count of 0 is right everywhere: nothing is read or written, and ranks stay in step. A buffer that a
 * rank does not use may be NULL. Below, `nranks` is the communicator's, and block r is the r-th run of
 * equal length of a buffer.
 *
 * Complete means that this rank's part is: the root of a broadcast or a scatter, and who gives to a reduce
 * or a gather, may return before the others have called it. Nothing but comityBarrier promises more.
 *
 * Errors of all of them:
 *   comityInvalidArgument: comm is NULL or dead; a NULL buffer with count > 0; a misaligned buffer; a count
 *     whose bytes overflow; a datatype, op or root out of range. Nothing happened; the communicator lives.
 *   comityInvalidUsage: ranks made different calls (the text names both), told within about a second of the
 *     later one, by the call, by comityCommGetAsyncError or by the next call that meets the other rank; or
 *     `comm` is finalized, or not yet initialised, or another thread is inside a call on it (nothing
 *     happened).
 *   comityRemoteError: a peer died or aborted (named).
 *   comityTimeout: for COMITY_TIMEOUT seconds nothing of the call got on (named: whom it waits for).
 *   comitySystemError: no memory for what the call needs. */

/* recvbuff[i] = op over all ranks of sendbuff[i], for i < count, on every rank; the same bits on every rank.
 * sendbuff, recvbuff: count elements. In place: recvbuff == sendbuff. */
COMITY_API comityResult_t comityAllReduce(const void* sendbuff, void* recvbuff, size_t count,
                                          comityDataType_t datatype, comityRedOp_t op, comityComm_t comm,
                                          comityStream_t stream);

/* recvbuff[i] = op over all ranks of sendbuff[i], on rank `root` alone; the others' recvbuff is not used.
 * sendbuff, recvbuff: count elements. In place, on the root: recvbuff == sendbuff. */
COMITY_API comityResult_t comityReduce(const void* sendbuff, void* recvbuff, size_t count,
                                       comityDataType_t datatype, comityRedOp_t op, int root,
                                       comityComm_t comm, comityStream_t stream);

/* recvbuff of every rank = sendbuff of rank `root`; the others' sendbuff is not used.
 * sendbuff, recvbuff: count elements. In place, on the root: recvbuff == sendbuff. */
COMITY_API comityResult_t comityBroadcast(const void* sendbuff, void* recvbuff, size_t count,
                                          comityDataType_t datatype, int root, comityComm_t comm,
                                          comityStream_t stream);

/* comityBroadcast in place: buff, count elements, is sent by `root` and received by the others. The two match
 * each other: some ranks may call one and some the other. */
COMITY_API comityResult_t comityBcast(void* buff, size_t count, comityDataType_t datatype, int root,
                                      comityComm_t comm, comityStream_t stream);

/* Block r of every rank's recvbuff = sendbuff of rank r.
 * sendbuff: sendcount elements. recvbuff: nranks * sendcount. In place: sendbuff == recvbuff + rank *
 * sendcount elements. */
COMITY_API comityResult_t comityAllGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                                          comityDataType_t datatype, comityComm_t comm,
                                          comityStream_t stream);

/* recvbuff of rank r = op over all ranks of block r of sendbuff.
 * sendbuff: nranks * recvcount elements. recvbuff: recvcount. In place: recvbuff == sendbuff + rank *
 * recvcount elements. */
COMITY_API comityResult_t comityReduceScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                                              comityDataType_t datatype, comityRedOp_t op, comityComm_t comm,
                                              comityStream_t stream);

/* Block s of rank r's recvbuff = block r of rank s's sendbuff. sendbuff, recvbuff: nranks * count elements;
 * they may not overlap (comityInvalidArgument if they are equal and count > 0). */
COMITY_API comityResult_t comityAlltoAll(const void* sendbuff, void* recvbuff, size_t count,
                                         comityDataType_t datatype, comityComm_t comm, comityStream_t stream);

/* Block r of the root's recvbuff = sendbuff of rank r; the others' recvbuff is not used. sendbuff: count
 * elements. recvbuff: nranks * count. In place, on the root: sendbuff == recvbuff + root * count elements. */
COMITY_API comityResult_t comityGather(const void* sendbuff, void* recvbuff, size_t count,
                                       comityDataType_t datatype, int root, comityComm_t comm,
                                       comityStream_t stream);

/* recvbuff of rank r = block r of the root's sendbuff; the others' sendbuff is not used. sendbuff: nranks *
 * count elements. recvbuff: count. In place, on the root: recvbuff == sendbuff + root * count elements. */
COMITY_API comityResult_t comityScatter(const void* sendbuff, void* recvbuff, size_t count,
                                        comityDataType_t datatype, int root, comityComm_t comm,
                                        comityStream_t stream);

/* Completes on no rank before every rank has called it. Moves no data. */
COMITY_API comityResult_t comityBarrier(comityComm_t comm, comityStream_t stream);

/* ---- Collectives with blocks of different lengths ---------------------------------------------------- */
/* Counts and displacements are in elements, nranks of each, and are read before the function returns. Block
 * r has counts[r] elements and begins displs[r] elements after the buffer's start; displs NULL: each begins
 * where the one before ends. Blocks that are written may not overlap. Counts may be 0 and as different as
 * memory allows; a buffer whose counts are all 0 may be NULL.
 *
 * Each length must be equal on the ranks that state it: every rank states all of AllGatherV and
 * ReduceScatterV; elsewhere the two ranks of a pair state what goes between them. Where they differ both
 * get comityInvalidUsage, which names the pair and both lengths, and so does every rank of `comm`. What a
 * rank gives and takes from itself must be equal, too: comityInvalidArgument, nothing happened. */

/* Block r of every rank's recvbuff = sendbuff of rank r. sendbuff: recvcounts[rank] elements. recvcounts is
 * equal on all ranks, recvdispls need not be. In place: sendbuff == recvbuff + recvdispls[rank] elements. */
COMITY_API comityResult_t comityAllGatherV(const void* sendbuff, void* recvbuff, const size_t* recvcounts,
                                           const size_t* recvdispls, comityDataType_t datatype,
                                           comityComm_t comm, comityStream_t stream);

/* recvbuff of rank r = op over all ranks of block r of sendbuff. recvbuff: sendcounts[rank] elements.
 * sendcounts is equal on all ranks, senddispls need not be. In place: recvbuff == sendbuff +
 * senddispls[rank] elements. */
COMITY_API comityResult_t comityReduceScatterV(const void* sendbuff, void* recvbuff, const size_t* sendcounts,
                                               const size_t* senddispls, comityDataType_t datatype,
                                               comityRedOp_t op, comityComm_t comm, comityStream_t stream);

/* Block s of rank r's recvbuff = block r of rank s's sendbuff. sendcounts[r] on rank s equals recvcounts[s]
 * on rank r. The buffers may not overlap. */
COMITY_API comityResult_t comityAlltoAllV(const void* sendbuff, const size_t* sendcounts,
                                          const size_t* senddispls, void* recvbuff, const size_t* recvcounts,
                                          const size_t* recvdispls, comityDataType_t datatype,
                                          comityComm_t comm, comityStream_t stream);

/* Block r of the root's recvbuff = sendbuff of rank r, sendcount elements, which equals recvcounts[r] on
 * the root. recvbuff, recvcounts and recvdispls are the root's alone. In place, on the root: sendbuff ==
 * recvbuff + recvdispls[root] elements. */
COMITY_API comityResult_t comityGatherV(const void* sendbuff, size_t sendcount, void* recvbuff,
                                        const size_t* recvcounts, const size_t* recvdispls,
                                        comityDataType_t datatype, int root, comityComm_t comm,
                                        comityStream_t stream);

/* recvbuff of rank r, recvcount elements, = block r of the root's sendbuff, whose sendcounts[r] equals it.
 * sendbuff, sendcounts and senddispls are the root's alone. In place, on the root: recvbuff == sendbuff +
 * senddispls[root] elements. */
COMITY_API comityResult_t comityScatterV(const void* sendbuff, const size_t* sendcounts,
                                         const size_t* senddispls, void* recvbuff, size_t recvcount,
                                         comityDataType_t datatype, int root, comityComm_t comm,
                                         comityStream_t stream);

/* ---- Point to point ---------------------------------------------------------------------------------- */
/* The n-th Send of rank s to rank r matches the n-th Recv of r from s, on the same communicator. Both give
 * the same count and datatype: where they differ, every rank of `comm` gets comityInvalidUsage, which names
 * both. Inside a group Sends and Recvs may stand in any order, to and from any ranks, oneself included;
 * outside of one a Send to oneself is comityInvalidUsage. Count 0 is a message like any other. Errors:
 * those of a collective. */

/* Sends count elements of sendbuff to rank `peer`. Complete when sendbuff may be written again: a short
 * message may be on its way still, a long one waits for its Recv. */
COMITY_API comityResult_t comitySend(const void* sendbuff, size_t count, comityDataType_t datatype, int peer,
                                     comityComm_t comm, comityStream_t stream);

/* Receives count elements from rank `peer` into recvbuff. */
COMITY_API comityResult_t comityRecv(void* recvbuff, size_t count, comityDataType_t datatype, int peer,
                                     comityComm_t comm, comityStream_t stream);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* COMITY_COMITY_H_ */
