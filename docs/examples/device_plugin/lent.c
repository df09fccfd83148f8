/* A whole device plugin: "lent", whose device is threads of this machine.
 *
 * Memory comes from posix_memalloc and is remembered in a list, as find() has to know it. A queue is a thread
 * with a list of work; an event is a number in a queue's life; a gate is work that waits. It sums and
 * compares int32 and float32, and leaves all else to the host. docs/porting-a-device.md walks through it. */
#define _POSIX_C_SOURCE 200809L

#include <comity/plugin/device_abi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kAlignment = 128, kQueues = 2, kMostSources = 4 };

static _Thread_local const char* last_error = "";

static int32_t refuse(int32_t result, const char* why) {
  last_error = why;
  return result;
}

static const char* error_text(void) {
  return last_error;
}

/* ---- The runtime: one device, and nothing to open ---- */

static int32_t start(void) {
  return COMITY_DEVICE_OK;
}

static int32_t device_count(uint32_t* count) {
  *count = 1;
  return COMITY_DEVICE_OK;
}

static int32_t properties(uint32_t device, comityDeviceProperties* its) {
  if (device != 0) return refuse(COMITY_DEVICE_INVALID, "there is one device");
  its->flags = COMITY_DEVICE_CANONICAL;
  snprintf(its->name, sizeof its->name, "threads of this machine");
  snprintf(its->driver, sizeof its->driver, "1.0");
  its->queues = kQueues;
  its->max_sources = kMostSources;
  return COMITY_DEVICE_OK;
}

/* ---- Memory ---- */

struct Range {
  char* begin;
  uint64_t bytes;
  struct Range* next;
};

static pthread_mutex_t ranges_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct Range* ranges;

static int32_t allocate(uint32_t device, uint64_t bytes, void** pointer) {
  if (device != 0 || bytes == 0) return refuse(COMITY_DEVICE_INVALID, "no such device, or no bytes");
  struct Range* range = malloc(sizeof *range);
  void* memory = NULL;
  if (range == NULL || bytes > (uint64_t)1 << 40 || posix_memalign(&memory, kAlignment, bytes) != 0) {
    free(range);
    return refuse(COMITY_DEVICE_NO_MEMORY, "the machine has not so much memory");
  }
  range->begin = memory;
  range->bytes = bytes;
  pthread_mutex_lock(&ranges_mutex);
  range->next = ranges;
  ranges = range;
  pthread_mutex_unlock(&ranges_mutex);
  *pointer = memory;
  return COMITY_DEVICE_OK;
}

static int32_t release(uint32_t device, void* pointer) {
  struct Range* found = NULL;
  pthread_mutex_lock(&ranges_mutex);
  for (struct Range** at = &ranges; *at != NULL; at = &(*at)->next) {
    if ((*at)->begin != pointer) continue;
    found = *at;
    *at = found->next;
    break;
  }
  pthread_mutex_unlock(&ranges_mutex);
  if (device != 0 || found == NULL) return refuse(COMITY_DEVICE_INVALID, "not an allocation of this device");
  free(found->begin);
  free(found);
  return COMITY_DEVICE_OK;
}

static int32_t find(const void* pointer, comityDevicePointer* found) {
  int32_t result = COMITY_DEVICE_INVALID;
  const char* address = pointer;
  pthread_mutex_lock(&ranges_mutex);
  for (const struct Range* at = ranges; at != NULL; at = at->next) {
    if (address < at->begin || address >= at->begin + at->bytes) continue;
    found->device = 0;
    found->base = (uint64_t)(uintptr_t)at->begin;
    found->bytes = at->bytes;
    result = COMITY_DEVICE_OK;
    break;
  }
  pthread_mutex_unlock(&ranges_mutex);
  return result == COMITY_DEVICE_OK ? result : refuse(result, "no memory of this device");
}

/* ---- Queues: a thread each, which carries out a list of work ---- */

struct comityDeviceGate {
  bool open; /* under the queue's mutex */
  struct comityDeviceQueue* queue;
};

struct Work {
  comityDeviceReduction reduction; /* of one source_count at least; else a copy, or a gate */
  const void* sources[kMostSources];
  void* to;
  const void* from;
  uint64_t bytes;
  struct comityDeviceGate* gate;
  struct Work* next;
};

struct comityDeviceQueue {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct Work *first, *last; /* under the mutex, as is all below */
  uint64_t issued, done;
  bool ending;
};

struct comityDeviceEvent {
  struct comityDeviceQueue* queue; /* NULL: never recorded */
  uint64_t number;
};

static void reduce_int32(const struct Work* work) {
  int32_t* to = work->reduction.destination;
  for (uint64_t i = 0; i < work->reduction.count; ++i) {
    int32_t value = ((const int32_t*)work->sources[0])[i];
    for (uint32_t k = 1; k < work->reduction.source_count; ++k) {
      const int32_t next = ((const int32_t*)work->sources[k])[i];
      if (work->reduction.op == COMITY_DEVICE_SUM)
        value = (int32_t)((uint32_t)value + (uint32_t)next); /* wraps */
      else if (work->reduction.op == COMITY_DEVICE_MAX ? next > value : next < value)
        value = next;
    }
    if (work->reduction.divisor != 0) value = (int32_t)((int64_t)value / work->reduction.divisor);
    to[i] = value;
  }
}

static void sum_float(const struct Work* work) {
  float* to = work->reduction.destination;
  for (uint64_t i = 0; i < work->reduction.count; ++i) {
    float value = ((const float*)work->sources[0])[i];
    for (uint32_t k = 1; k < work->reduction.source_count; ++k) value += ((const float*)work->sources[k])[i];
    if (work->reduction.divisor != 0) value /= (float)work->reduction.divisor;
    const uint32_t nan = 0x7fc00000; /* the canonical one */
    if (value != value) memcpy(&value, &nan, sizeof value);
    to[i] = value;
  }
}

static void carry_out(const struct Work* work) {
  if (work->reduction.source_count == 0)
    memcpy(work->to, work->from, work->bytes);
  else if (work->reduction.type == COMITY_DEVICE_INT32)
    reduce_int32(work);
  else
    sum_float(work);
}

/* The mutex is held but while work is carried out. */
static void* run(void* argument) {
  struct comityDeviceQueue* queue = argument;
  pthread_mutex_lock(&queue->mutex);
  for (;;) {
    struct Work* work = queue->first;
    if (work == NULL && queue->ending) break;
    if (work == NULL || (work->gate != NULL && !work->gate->open)) {
      pthread_cond_wait(&queue->changed, &queue->mutex);
      continue;
    }
    queue->first = work->next;
    if (queue->first == NULL) queue->last = NULL;
    pthread_mutex_unlock(&queue->mutex);
    if (work->gate == NULL) carry_out(work);
    free(work->gate);
    free(work);
    pthread_mutex_lock(&queue->mutex);
    ++queue->done;
  }
  pthread_mutex_unlock(&queue->mutex);
  pthread_cond_destroy(&queue->changed);
  pthread_mutex_destroy(&queue->mutex);
  free(queue);
  return NULL;
}

static int32_t queue_create(uint32_t device, comityDeviceQueue_t* made) {
  if (device != 0) return refuse(COMITY_DEVICE_INVALID, "there is one device");
  struct comityDeviceQueue* queue = calloc(1, sizeof *queue);
  if (queue == NULL) return refuse(COMITY_DEVICE_FAILED, "no memory for a queue");
  pthread_mutex_init(&queue->mutex, NULL);
  pthread_cond_init(&queue->changed, NULL);
  if (pthread_create(&queue->thread, NULL, run, queue) != 0) {
    free(queue);
    return refuse(COMITY_DEVICE_FAILED, "no thread for a queue");
  }
  pthread_detach(queue->thread);
  *made = queue;
  return COMITY_DEVICE_OK;
}

/* The thread ends, and frees it, when its list is empty. */
static int32_t queue_destroy(comityDeviceQueue_t queue) {
  pthread_mutex_lock(&queue->mutex);
  queue->ending = true;
  pthread_cond_signal(&queue->changed);
  pthread_mutex_unlock(&queue->mutex);
  return COMITY_DEVICE_OK;
}

static int32_t put(comityDeviceQueue_t queue, const struct Work* given) {
  struct Work* work = malloc(sizeof *work);
  if (work == NULL) return refuse(COMITY_DEVICE_FAILED, "no memory for a piece of work");
  *work = *given;
  work->next = NULL;
  pthread_mutex_lock(&queue->mutex);
  if (queue->last != NULL)
    queue->last->next = work;
  else
    queue->first = work;
  queue->last = work;
  ++queue->issued;
  pthread_cond_signal(&queue->changed);
  pthread_mutex_unlock(&queue->mutex);
  return COMITY_DEVICE_OK;
}

/* The CPU reaches all of this device's memory: every way is the same. */
static int32_t copy(comityDeviceQueue_t queue, void* to, const void* from, uint64_t bytes, uint32_t way) {
  (void)way;
  const struct Work work = {.to = to, .from = from, .bytes = bytes};
  return put(queue, &work);
}

static int32_t reduce(comityDeviceQueue_t queue, const comityDeviceReduction* reduction) {
  const bool integers = reduction->type == COMITY_DEVICE_INT32 && reduction->op != COMITY_DEVICE_PROD;
  const bool floats = reduction->type == COMITY_DEVICE_FLOAT32 && reduction->op == COMITY_DEVICE_SUM;
  if (!integers && !floats)
    return refuse(COMITY_DEVICE_UNSUPPORTED, "a type or an operation that it has not");
  if (reduction->source_count == 0 || reduction->source_count > kMostSources)
    return refuse(COMITY_DEVICE_INVALID, "too many sources");
  struct Work work = {.reduction = *reduction};
  for (uint32_t k = 0; k < reduction->source_count; ++k) work.sources[k] = reduction->sources[k];
  return put(queue, &work);
}

/* ---- Events and gates ---- */

static int32_t event_create(uint32_t device, comityDeviceEvent_t* event) {
  (void)device;
  *event = calloc(1, sizeof **event);
  return *event != NULL ? COMITY_DEVICE_OK : refuse(COMITY_DEVICE_FAILED, "no memory for an event");
}

static int32_t event_destroy(comityDeviceEvent_t event) {
  free(event);
  return COMITY_DEVICE_OK;
}

static int32_t event_record(comityDeviceQueue_t queue, comityDeviceEvent_t event) {
  pthread_mutex_lock(&queue->mutex);
  event->queue = queue;
  event->number = queue->issued;
  pthread_mutex_unlock(&queue->mutex);
  return COMITY_DEVICE_OK;
}

static int32_t event_query(comityDeviceEvent_t event) {
  if (event->queue == NULL) return COMITY_DEVICE_OK;
  pthread_mutex_lock(&event->queue->mutex);
  const bool done = event->queue->done >= event->number;
  pthread_mutex_unlock(&event->queue->mutex);
  return done ? COMITY_DEVICE_OK : COMITY_DEVICE_PENDING;
}

/* A user's stream of this device is one of its queues. */
static int32_t queue_stream(comityDeviceQueue_t queue, void** stream) {
  *stream = queue;
  return COMITY_DEVICE_OK;
}

static int32_t stream_check(uint32_t device, void* stream) {
  return device == 0 && stream != NULL ? COMITY_DEVICE_OK
                                       : refuse(COMITY_DEVICE_INVALID, "that is no stream");
}

static int32_t stream_record(uint32_t device, void* stream, comityDeviceEvent_t event) {
  (void)device;
  return event_record(stream, event);
}

static int32_t stream_hold(uint32_t device, void* stream, comityDeviceGate_t* gate) {
  (void)device;
  *gate = calloc(1, sizeof **gate);
  if (*gate == NULL) return refuse(COMITY_DEVICE_FAILED, "no memory for a gate");
  (*gate)->queue = stream;
  const struct Work work = {.gate = *gate};
  return put(stream, &work);
}

/* The thread frees the gate when it has passed it. */
static int32_t gate_open(comityDeviceGate_t gate) {
  struct comityDeviceQueue* queue = gate->queue;
  pthread_mutex_lock(&queue->mutex);
  gate->open = true;
  pthread_cond_signal(&queue->changed);
  pthread_mutex_unlock(&queue->mutex);
  return COMITY_DEVICE_OK;
}

/* ---- The table ---- */

COMITY_DEVICE_PLUGIN_EXPORT const comityDeviceTable* comityDevicePlugin(void) {
  static const comityDeviceTable table = {
      .size = sizeof table,
      .abi = COMITY_DEVICE_ABI,
      .name = "lent",
      .start = start,
      .error_text = error_text,
      .device_count = device_count,
      .properties = properties,
      .allocate = allocate,
      .release = release,
      .find = find,
      .queue_create = queue_create,
      .queue_destroy = queue_destroy,
      .copy = copy,
      .reduce = reduce,
      .event_create = event_create,
      .event_destroy = event_destroy,
      .event_record = event_record,
      .event_query = event_query,
      .queue_stream = queue_stream,
      .stream_check = stream_check,
      .stream_record = stream_record,
      .stream_hold = stream_hold,
      .gate_open = gate_open,
  };
  return &table;
}
