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
 * goes for comityInvalidUsage that is found before anything was sent. Any other error of a collective ends
 * the communicator: every rank gets that error, from the call, from comityCommGetAsyncError or from its next
 *   call, and what remains is comityCommAbort or comityCommDestroy. comityGetLastError says who, what, where
 *   and what to try.
 *
 * Buffers
 *   belong to the caller. Addresses are multiples of the element's size. Counts are elements, not bytes, from
 *   0 to as many as memory holds. Until the call is complete, a send buffer may be read but not written, and
 * a receive buffer neither. Where two arguments overlap in another way than the one that a function calls "in
 * place", the result is undefined. After an error the content of receive buffers is undefined.
 *
 * Streams
 *   A collective's last argument orders it among the work of a device. NULL means none: on memory of the host
 *   the call is complete when it returns, and runs on the caller's thread. Any other value is
 *   comityInvalidUsage in this version.
 *
 * Threads
 *   Different communicators may be used by different threads at the same time. One communicator is used by
 * one thread at a time, except for comityCommAbort, comityCommGetAsyncError, comityGetLastError,
 * comityCommCount and comityCommUserRank, which any thread may call until the communicator is destroyed or
 * aborted.
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
 * This header is C99 and C++. `comity doctor` lists the environment variables that change behaviour.
 */
#ifndef COMITY_COMITY_H_
#define COMITY_COMITY_H_

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

/* A queue of a device's work. No function of this version makes one: pass NULL. */
typedef struct comityStream* comityStream_t;

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
  comityNumOps = 5
} comityRedOp_t;

/* ---- Version and errors ------------------------------------------------------------------------------ */

/* Writes the library's COMITY_VERSION_CODE to *version: compare with the header's to find a mixed
 * installation. Any thread, does not block.
 * Errors: comityInvalidArgument (version is NULL). */
COMITY_API comityResult_t comityGetVersion(int* version);

/* A few words on what `result` means; for a value that is no comityResult_t, words that say so. Static
 * storage, never NULL. Any thread, does not block. */
COMITY_API const char* comityGetErrorString(comityResult_t result);

/* The sentence that explains the last error of `comm`: which rank, what failed, where, what to try. With
 * NULL, or a communicator that is destroyed, the last error of any call of this thread (a failed
 * comityCommInitRank leaves no communicator to ask). "" if there was none. The text is the library's, never
 * NULL, and stays valid until this thread's next comityGetLastError. Any thread, does not block. */
COMITY_API const char* comityGetLastError(comityComm_t comm);

/* ---- Communicators ----------------------------------------------------------------------------------- */

/* Writes a new id to *uniqueId and opens the meeting point that it names in this process. One rank calls it,
 * once for each communicator, and passes the id to all; its process must live until every rank's
 * comityCommInitRank returned. COMITY_SOCKET_IFNAME and COMITY_SOCKET_ADDRESS choose the interface. Any
 * thread; does not block.
 * Errors: comityInvalidArgument (NULL, or a setting that makes no sense), comitySystemError (no address, or
 * a port in use). */
COMITY_API comityResult_t comityGetUniqueId(comityUniqueId* uniqueId);

/* Joins the communicator of `commId` as rank `rank` of `nranks`, and writes its handle to *comm, which the
 * caller gives back by comityCommDestroy or comityCommAbort. Blocks until all ranks have joined, or
 * COMITY_INIT_TIMEOUT_MS passed. One id makes one communicator. Several ranks may be threads of one process,
 * each calling this; one thread that is several ranks wraps its calls into a group, and has the handles when
 * comityGroupEnd returns. On an error *comm is COMITY_COMM_NULL.
 * Errors: comityInvalidArgument (comm NULL, nranks < 1, rank not in [0, nranks), a damaged id, a rank given
 * twice or ranks that disagree on nranks), comityInvalidUsage (ranks differ in version or in a setting that
 * all must share; names both), comityTimeout (names the missing ranks), comityRemoteError (another rank
 * failed, or knows another secret), comitySystemError. */
COMITY_API comityResult_t comityCommInitRank(comityComm_t* comm, int nranks, comityUniqueId commId, int rank);

/* Makes one communicator of `ndev` ranks that are all in this process, and writes rank i's handle to
 * comms[i]. `comms` has room for ndev handles; each is given back separately. devlist[i] is the number of
 * the device that rank i works on; NULL means 0 .. ndev - 1. On a machine without accelerators every number
 * stands for the host. Collectives on these handles are called from one thread inside a group, or from a
 * thread for each handle. Blocks for the time of the set-up. On an error all comms[i] are COMITY_COMM_NULL.
 * Errors: comityInvalidArgument (comms NULL, ndev < 1, a negative device), comitySystemError. */
COMITY_API comityResult_t comityCommInitAll(comityComm_t* comms, int ndev, const int* devlist);

/* Gives back `comm` and all that it holds, after its collectives completed. Every rank calls it; it tells
 * the others that this rank leaves in order and does not wait for them. The handle is dead afterwards,
 * whatever is returned: calls with it are refused. Memory of comityMemAlloc stays. Blocks at most some tens
 * of milliseconds: what this rank sent and a peer has not taken yet is kept on its way behind the caller's
 * back. exit() waits for that as long as bytes move, and at most 30 s while a living peer takes nothing;
 * _exit() and a signal that kills do not, and may cost the peers data.
 * Errors: comityInvalidArgument (NULL, or a handle that is none or dead), comityInvalidUsage (inside a
 * group), or the error that the communicator had. */
COMITY_API comityResult_t comityCommDestroy(comityComm_t comm);

/* Ends `comm` at once, from any thread: each of its pending calls, in whichever thread, returns
 * comityRemoteError within 100 ms, and the other ranks get that error, naming this one. Then gives back what
 * the communicator holds; the handle is dead afterwards. What pending calls were to write is undefined, and
 * peers may still read or write the buffers of pending calls until every rank has returned from them: do
 * not reuse or free those before. Blocks until the pending calls have left.
 * Errors: comityInvalidArgument (NULL, or a handle that is none or dead). */
COMITY_API comityResult_t comityCommAbort(comityComm_t comm);

/* Writes to *asyncError the error that `comm` has come to since it was made, also through what other ranks
 * reported: comitySuccess while all is well. Ask from another thread while a call waits; comityGetLastError
 * has the sentence. Any thread, does not block, costs one load.
 * Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityCommGetAsyncError(comityComm_t comm, comityResult_t* asyncError);

/* Writes the number of ranks of `comm` to *count. Any thread, does not block.
 * Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityCommCount(comityComm_t comm, int* count);

/* Writes this handle's rank to *rank. Any thread, does not block.
 * Errors: comityInvalidArgument. */
COMITY_API comityResult_t comityCommUserRank(comityComm_t comm, int* rank);

/* ---- Memory ------------------------------------------------------------------------------------------ */

/* Allocates `size` bytes that other ranks on this host can reach directly: collectives on such buffers skip
 * a copy and are the fastest. Aligned to at least 128 bytes, content undefined; *ptr is the caller's until
 * comityMemFree. A size of 0 gives NULL. Not bound to a communicator. Nothing of it outlives the process,
 * however that ends. Any thread, does not block. Errors: comityInvalidArgument (ptr is NULL),
 * comitySystemError (the system or COMITY_ARENA_CAP refuses the size; *ptr is NULL). */
COMITY_API comityResult_t comityMemAlloc(void** ptr, size_t size);

/* Frees what comityMemAlloc gave; NULL is accepted and ignored. No collective may be using it, on any rank
 * that shares it: it is free to go when the collectives that named it are complete on this rank. Any thread,
 * does not block.
 * Errors: comityInvalidArgument (no such allocation). */
COMITY_API comityResult_t comityMemFree(void* ptr);

/* Tells `comm` that [buff, buff + size), memory of the caller's own, will be used again and again, and
 * writes to *handle what comityCommDeregister takes. A hint: it may make calls on the buffer faster and
 * never changes what they do. The memory must stay until it is deregistered. Overlapping registrations are
 * counted. Does not block, not collective.
 * Errors: comityInvalidArgument (NULL, size 0, a range that wraps). */
COMITY_API comityResult_t comityCommRegister(comityComm_t comm, void* buff, size_t size, void** handle);

/* Takes a registration back; destroying the communicator takes back all of them. No collective may be using
 * the buffer. Does not block.
 * Errors: comityInvalidArgument (a handle that is not `comm`'s or was taken back). */
COMITY_API comityResult_t comityCommDeregister(comityComm_t comm, void* handle);

/* ---- Groups ------------------------------------------------------------------------------------------ */

/* Collects the calls that this thread makes until the matching comityGroupEnd, which then carries them out
 * together: so one thread can drive several communicators of one process without waiting for itself. Calls
 * inside a group check their arguments and return at once; a call refused there is not in the group. Calls on
 * one communicator keep their order. Groups nest; the outermost end counts. Thread-local, does not block.
 * Never fails. */
COMITY_API comityResult_t comityGroupStart(void);

/* Ends the group. The outermost end carries out the calls collected and blocks until each is complete (NULL
 * stream). Returns the first error, in the order of the calls: of one that was refused inside the group, in
 * which case nothing of the group is carried out, or of one that failed.
 * Errors: comityInvalidUsage (no group is open in this thread); those of the calls inside. */
COMITY_API comityResult_t comityGroupEnd(void);

/* ---- Collectives ------------------------------------------------------------------------------------- */
/* Each is called by every rank of `comm` in the same order, with the same count, datatype, op and root. Each
 * blocks until complete (NULL stream), as long as its peers live and it gets on within COMITY_TIMEOUT. A
 * count of 0 is right everywhere: nothing is read or written, and ranks stay in step. A buffer that a rank
 * does not use may be NULL. Below, `nranks` is the communicator's, and block r is the r-th run of equal
 * length of a buffer.
 *
 * Errors of all of them:
 *   comityInvalidArgument: comm is NULL or dead; a NULL buffer with count > 0; a misaligned buffer; a count
 *     whose bytes overflow; a datatype, op or root out of range. Nothing happened; the communicator lives.
 *   comityInvalidUsage: ranks made different calls (the text names both), told within about a second of the
 *     later one; or the stream is not NULL (nothing happened).
 *   comityRemoteError: a peer died or aborted (named).
 *   comityTimeout: for COMITY_TIMEOUT seconds nothing of the call got on (named: whom it waits for). */

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

/* Completes on no rank before every rank has called it. Moves no data. */
COMITY_API comityResult_t comityBarrier(comityComm_t comm, comityStream_t stream);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* COMITY_COMITY_H_ */
