/* Device ABI: what the maker of a chip gives Comity, as one table of C functions.
 *
 * A plugin is a shared library that exports one function, comityDevicePlugin(), which returns a table. Comity
 * finds it by its file or its name in COMITY_DEVICES, or in a folder of COMITY_PLUGIN_PATH as
 * libcomity_device_NAME.so. `comity device check NAME|FILE.so` says what of this contract holds on a machine;
 * docs/porting-a-device.md walks through a whole plugin.
 *
 * The life of a table:
 *
 *   start -> device_count, properties -> allocate .. queue_create -> copy, reduce, event_record ...
 *         -> queue_destroy, release -> stop (not when the process just exits)
 *
 * Rules for all functions:
 *
 * Results are COMITY_DEVICE_OK, COMITY_DEVICE_PENDING where said, or a negative COMITY_DEVICE_ error. After
 * an error error_text() says why in words, and nothing happened, but where COMITY_DEVICE_FAILED says that
 * the device may be lost.
 * Threads: any, at any time; a queue is used by one thread at a time. No signals, no exit(), no output.
 * Blocking: start, allocate, release and the functions that say so may block, and none without an end.
 * Memory that is passed stays the caller's. Structures are read or filled before the function returns.
 * What a device cannot do is a NULL entry, or COMITY_DEVICE_UNSUPPORTED for these arguments: Comity then goes
 * another way. The entries that must be there are marked (required).
 * A child of fork() calls nothing of the table that its parent started.
 *
 * ABI 0 may still change; from 1 on structures and the table are only appended to, and `size` tells both
 * sides what the other knows. */
#ifndef COMITY_PLUGIN_DEVICE_ABI_H_
#define COMITY_PLUGIN_DEVICE_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COMITY_DEVICE_ABI 0u

enum {
  COMITY_DEVICE_OK = 0,
  COMITY_DEVICE_PENDING = 1,      /* not an error: not complete yet */
  COMITY_DEVICE_INVALID = -1,     /* an argument is wrong */
  COMITY_DEVICE_UNSUPPORTED = -2, /* this device, or its runtime, cannot do it */
  COMITY_DEVICE_NO_MEMORY = -3,   /* of the device, or pinned memory of the host */
  COMITY_DEVICE_FAILED = -4       /* the device or its runtime failed: what was queued may be lost */
};

/* Objects of the plugin: what is behind the pointers is its own affair. */
typedef struct comityDeviceQueue* comityDeviceQueue_t;
typedef struct comityDeviceEvent* comityDeviceEvent_t;
typedef struct comityDeviceGate* comityDeviceGate_t;

/* Element types, as comityDataType_t, and operations, as comityRedOp_t: the numbers never change. */
enum {
  COMITY_DEVICE_INT8 = 0,
  COMITY_DEVICE_UINT8 = 1,
  COMITY_DEVICE_INT32 = 2,
  COMITY_DEVICE_UINT32 = 3,
  COMITY_DEVICE_INT64 = 4,
  COMITY_DEVICE_UINT64 = 5,
  COMITY_DEVICE_FLOAT16 = 6,
  COMITY_DEVICE_FLOAT32 = 7,
  COMITY_DEVICE_FLOAT64 = 8,
  COMITY_DEVICE_BFLOAT16 = 9,
  COMITY_DEVICE_FLOAT8E4M3 = 10,
  COMITY_DEVICE_FLOAT8E5M2 = 11,
  COMITY_DEVICE_TYPES = 12
};
enum {
  COMITY_DEVICE_SUM = 0,
  COMITY_DEVICE_PROD = 1,
  COMITY_DEVICE_MAX = 2,
  COMITY_DEVICE_MIN = 3,
  COMITY_DEVICE_OPS = 4
};

/* Flags of properties. */
enum {
  COMITY_DEVICE_HOST_ADDRESSABLE = 1u << 0, /* the CPU loads and stores its memory by the same pointers */
  COMITY_DEVICE_CANONICAL = 1u << 1         /* reduce() gives the canonical bits, see there */
};

/* What a device is. Texts end with 0; an empty one, and 0, say nothing. */
typedef struct comityDeviceProperties {
  uint32_t size; /* in: sizeof, as the caller knows it; a plugin fills no more than that */
  uint32_t flags;
  char name[96];    /* for people: "Instinct MI300X" */
  char driver[96];  /* the version of driver or runtime, by which compiled kernels are kept */
  char bus_id[32];  /* PCI: "0000:3b:00.0", in lower case */
  uint8_t uuid[16]; /* of the device, equal in all processes; all 0: none */
  uint64_t memory_bytes;
  uint32_t compute_units;
  uint32_t queues;      /* how many queues can usefully work at once; at least 1 */
  uint32_t max_sources; /* that reduce() takes; at least 2 where there is one */
  uint32_t reserved;
} comityDeviceProperties;

/* Whose a pointer is. */
typedef struct comityDevicePointer {
  uint32_t size; /* in: sizeof */
  uint32_t device;
  uint64_t base; /* the allocation that it lies in: address and bytes; 0 bytes: not known */
  uint64_t bytes;
} comityDevicePointer;

/* Where copy() goes. */
enum {
  COMITY_DEVICE_COPY_IN = 0,    /* from memory of the host, of any kind, to the queue's device */
  COMITY_DEVICE_COPY_OUT = 1,   /* back */
  COMITY_DEVICE_COPY_WITHIN = 2 /* on the queue's device */
};

/* Flags of a reduction. */
enum {
  COMITY_DEVICE_FIRST_IS_ACCUMULATOR = 1u << 0, /* sources[0] has the accumulator's type */
  COMITY_DEVICE_INTO_ACCUMULATOR = 1u << 1,     /* destination has it: the result is not rounded */
  COMITY_DEVICE_DIVIDES_SOURCES = 1u << 2       /* the divisor is for sources, see there */
};

/* destination[i] = round(sources[0][i] op sources[1][i] op ...), folded from the left, of `count` elements.
 * The accumulator's type is the type itself for integers, float32 and float64, and float32 for the floats of
 * 8 and 16 bits, which are rounded once, to nearest even.
 *   divisor     0: none. Else the result is divided by it before it is rounded; or, with
 *               COMITY_DEVICE_DIVIDES_SOURCES, each source k whose bit k of `divided` is 0, before it is
 *               folded, and not the result. Integers truncate toward zero.
 * The destination may be one of the sources exactly, and overlaps none in part. Pointers are aligned to their
 * elements. Canonical bits, in which all devices and hosts agree: NaN is 0x7e00, 0x7fc00000,
 * 0x7ff8000000000000, 0x7fc0 (bfloat16), 0x7f (e4m3), 0x7e (e5m2); max and min of a NaN are NaN, and -0 is
 * less than +0; subnormals are kept; fp8 is OCP's, where what is too large and finite saturates, and
 * infinity stays in e5m2 and saturates in e4m3; integers wrap; no multiplication is fused with an addition,
 * and division is correctly rounded. A device without COMITY_DEVICE_CANONICAL is not asked to reduce. */
typedef struct comityDeviceReduction {
  uint32_t size; /* sizeof, as the caller knows it */
  uint32_t flags;
  uint32_t type;
  uint32_t op;
  const void* const* sources; /* read before the function returns */
  uint32_t source_count;      /* 1 to max_sources */
  uint32_t divisor;
  uint64_t divided; /* a bit for each source: this one was divided before */
  uint64_t count;   /* at least 1 */
  void* destination;
} comityDeviceReduction;

/* Memory of a device, in words by which another process on this host opens it. */
typedef struct comityDeviceMemoryHandle {
  uint64_t bytes; /* of the whole allocation */
  uint8_t words[120];
} comityDeviceMemoryHandle;

typedef struct comityDeviceTable {
  uint32_t size;    /* sizeof(comityDeviceTable) as the plugin was built */
  uint32_t abi;     /* COMITY_DEVICE_ABI as the plugin was built */
  const char* name; /* one word in lower case, by which COMITY_DEVICES names it: "opencl" */

  /* ---- The runtime ------------------------------------------------------------------------------------ */
  /* (required) Opens the runtime, before anything else is called but error_text. Blocks. Errors: UNSUPPORTED
   * (there is no runtime, or no device), FAILED. After an error, and after stop, it may be called again. */
  int32_t (*start)(void);
  /* Closes it; whatever was made was given back before. Blocks. NULL: nothing is to be done. */
  void (*stop)(void);
  /* (required) Why the last call of this thread that failed did. Static or of the thread, never NULL. */
  const char* (*error_text)(void);
  /* (required) How many devices there are, 0 included; they are numbered from 0 and stay while it is open. */
  int32_t (*device_count)(uint32_t* count);
  /* (required) Fills *properties. May block. Errors: INVALID (no such device). */
  int32_t (*properties)(uint32_t device, comityDeviceProperties* properties);
  /* The device that the calling thread works on by the runtime's own account. NULL: there is none. */
  int32_t (*current_device)(uint32_t* device);

  /* ---- Memory ----------------------------------------------------------------------------------------- */
  /* (required) Memory of the device, aligned to 128 at least; bytes > 0. Errors: NO_MEMORY, INVALID. */
  int32_t (*allocate)(uint32_t device, uint64_t bytes, void** pointer);
  /* (required) Gives it back; queued work that uses it has ended. May wait for other work of Comity's queues,
   * and as allocate() not for a user's streams, which may be held by a gate that only the caller can open.
   * Errors: INVALID (`pointer` did not come from allocate of this device). */
  int32_t (*release)(uint32_t device, void* pointer);
  /* (required) Whose memory that is: what allocate() gave, and whatever else of the runtime's memory a user
   * may have. Short: it is asked for the buffers of every call. Never blocks. INVALID: nobody's here. */
  int32_t (*find)(const void* pointer, comityDevicePointer* found);
  /* Memory of the host that this runtime copies to and from fastest. NULL: any. */
  int32_t (*allocate_host)(uint64_t bytes, void** pointer);
  int32_t (*release_host)(void* pointer);
  /* Lets another process on this host use [pointer, pointer + bytes): the handle is plain bytes. `offset`: of
   * the pointer in what the other process gets. The memory stays until all have closed it. */
  int32_t (*export_memory)(uint32_t device, const void* pointer, uint64_t bytes,
                           comityDeviceMemoryHandle* handle, uint64_t* offset);
  /* Opens it; from now on find() knows it. UNSUPPORTED: not from here, or from this device. */
  int32_t (*import_memory)(uint32_t device, const comityDeviceMemoryHandle* handle, void** pointer);
  int32_t (*close_memory)(uint32_t device, void* pointer);
  /* Lets copies and reductions of `device` name memory of device `other` of this runtime directly. */
  int32_t (*enable_peer)(uint32_t device, uint32_t other);

  /* ---- Queues ----------------------------------------------------------------------------------------- */
  /* (required) A queue: work on it is carried out in the order of issue and begins without further calls;
   * work of different queues in any order, and at the same time where the device can. May block. */
  int32_t (*queue_create)(uint32_t device, comityDeviceQueue_t* queue);
  /* (required) Ends it when what it holds has ended. Does not wait for that. */
  int32_t (*queue_destroy)(comityDeviceQueue_t queue);
  /* (required) Copies bytes > 0; the ranges do not overlap. Both stay until an event recorded behind is
   * complete. `way`: COMITY_DEVICE_COPY_. */
  int32_t (*copy)(comityDeviceQueue_t queue, void* destination, const void* source, uint64_t bytes,
                  uint32_t way);
  /* Reduces on the device's memory. NULL, or UNSUPPORTED for a type, an operation or flags: the host does. */
  int32_t (*reduce)(comityDeviceQueue_t queue, const comityDeviceReduction* reduction);
  /* (required) An event, complete until it is recorded. */
  int32_t (*event_create)(uint32_t device, comityDeviceEvent_t* event);
  int32_t (*event_destroy)(comityDeviceEvent_t event);
  /* (required) It completes when all that was issued on `queue` before has ended; what it marked before it
   * does not mark any more. */
  int32_t (*event_record)(comityDeviceQueue_t queue, comityDeviceEvent_t event);
  /* (required) OK: complete, and what was written is visible to the CPU where it was written to the host.
   * PENDING: not yet. FAILED: work that it marks failed. Never blocks. */
  int32_t (*event_query)(comityDeviceEvent_t event);
  /* What is issued on `queue` from now on waits for the event. NULL: Comity waits itself. */
  int32_t (*queue_wait)(comityDeviceQueue_t queue, comityDeviceEvent_t event);
  /* The runtime's own stream under the queue, as a user would have one: the conformance suite puts gates on
   * it. NULL where there are no streams. */
  int32_t (*queue_stream)(comityDeviceQueue_t queue, void** stream);

  /* ---- A user's streams ------------------------------------------------------------------------------- */
  /* `stream` is the runtime's own (cudaStream_t, cl_command_queue, ...), of this device; NULL is its default
   * stream where it has one. None of these blocks. All or none are there. */
  /* UNSUPPORTED: the stream is being captured or otherwise takes no gate now; INVALID: it is none. */
  int32_t (*stream_check)(uint32_t device, void* stream);
  /* As event_record, of what the user put on the stream. */
  int32_t (*stream_record)(uint32_t device, void* stream, comityDeviceEvent_t event);
  /* Puts a gate on the stream: what the user puts behind it does not begin before gate_open. Other streams
   * and queues of the device go on. */
  int32_t (*stream_hold)(uint32_t device, void* stream, comityDeviceGate_t* gate);
  /* Opens the gate, from any thread, and gives it back to the plugin. */
  int32_t (*gate_open)(comityDeviceGate_t gate);
} comityDeviceTable;

/* What a plugin exports. The table is static, and does not change. */
typedef const comityDeviceTable* (*comityDevicePluginFunction)(void);
#define COMITY_DEVICE_PLUGIN_SYMBOL "comityDevicePlugin"
#define COMITY_DEVICE_PLUGIN_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
}
#endif

#endif
