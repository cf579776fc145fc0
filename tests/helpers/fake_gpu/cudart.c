/* The CUDA runtime of the fake GPU; see fake.h. FAKE_GPUS, FAKE_GPU_BYTES and FAKE_GPU_CAPABILITY say
 * how many GPUs there are, how large each one's memory is, and its compute capability (for example 90). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

typedef struct Task {
  struct Task* next;
  int (*run)(void* args);
  size_t bytes;
  _Alignas(16) char args[];
} Task;

typedef struct {
  Task *head, **tail;
} Queue;

typedef struct Graph {
  Queue tasks;
} Graph;

struct Stream {
  Queue tasks;
  Graph* capture;
  int device, runs;
};

typedef struct {
  Stream* stream;
  int device, recorded, done;
  double ms;
} Event;

typedef struct Range {
  struct Range* next;
  char* begin;
  size_t bytes;
  int pinned, device;
} Range;

enum { MAX_GPUS = 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Range* ranges;
static size_t device_bytes[MAX_GPUS];
static Stream* streams[64];
/* After a failure every call of the GPU fails, until its last stream is gone. */
static int failed[MAX_GPUS];
/* The GPU of a thread, as it sees them; real libraries have one such number each. */
static __thread int current;

static size_t setting(const char* name, size_t otherwise) {
  const char* text = getenv(name);
  return text == NULL || *text == 0 ? otherwise : strtoull(text, NULL, 10);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int fault(const char* what) {
  fprintf(stderr, "fake GPU: %s\n", what);
  return CUDA_INVALID_VALUE;
}

static void push(Queue* queue, int (*run)(void*), const void* args, size_t bytes) {
  Task* task = malloc(sizeof(Task) + bytes);
  task->next = NULL;
  task->run = run;
  task->bytes = bytes;
  memcpy(task->args, args, bytes);
  if (queue->tail == NULL) queue->tail = &queue->head;
  *queue->tail = task;
  queue->tail = &task->next;
}

/* The number of the GPU that the process sees as number `device`; -1 if it sees fewer. */
static int physical(int device) {
  const int count = (int)setting("FAKE_GPUS", 1);
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  if (visible == NULL || *visible == 0) return device < count ? device : -1;
  for (; device > 0 && visible != NULL; device--) visible = strchr(visible, ',') ? strchr(visible, ',') + 1 : NULL;
  return visible == NULL || atoi(visible) >= count ? -1 : atoi(visible);
}

static void let_others_run(void) {
  pthread_mutex_unlock(&lock);
  usleep(50);
  pthread_mutex_lock(&lock);
}

/* Runs the first task; lets others have the lock when it has to wait, or another thread runs it. */
static void step(Stream* stream) {
  if (stream->runs) return let_others_run();
  Task* task = stream->tasks.head;
  int* failure = &failed[stream->device];
  stream->runs = 1;
  const int status = *failure == 0 ? task->run(task->args) : 0;
  stream->runs = 0;
  if (status == FAKE_AGAIN) return let_others_run();
  if (status != 0) *failure = CUDA_LAUNCH_FAILURE;
  stream->tasks.head = task->next;
  if (task->next == NULL) stream->tasks.tail = &stream->tasks.head;
  free(task);
}

int fake_submit(Stream* stream, int (*run)(void*), const void* args, size_t bytes) {
  pthread_mutex_lock(&lock);
  push(stream->capture != NULL ? &stream->capture->tasks : &stream->tasks, run, args, bytes);
  pthread_mutex_unlock(&lock);
  return CUDA_OK;
}

int fake_is_capturing(Stream* stream) { return stream->capture != NULL; }

int fake_current(void) { return current; }

int fake_device(Stream* stream) { return stream->device; }

static void drain(Stream* stream) {
  while (stream->tasks.head != NULL) step(stream);
}

static int add_range(void* memory, size_t bytes, int pinned) {
  Range* range = malloc(sizeof *range);
  *range = (Range){ranges, memory, bytes, pinned, current};
  ranges = range;
  return CUDA_OK;
}

static int remove_range(void* memory, int pinned) {
  for (Range** link = &ranges; *link != NULL; link = &(*link)->next) {
    Range* range = *link;
    if (range->begin != memory || range->pinned != pinned) continue;
    *link = range->next;
    if (!pinned) device_bytes[range->device] -= range->bytes;
    memset(range->begin, 0xDD, range->bytes);
    free(range->begin);
    free(range);
    return CUDA_OK;
  }
  return fault("memory is freed that nobody allocated");
}

/* Whether some bytes lie in pinned memory, where `device` is -1, or in that of a GPU. */
static int lies_in(const char* begin, size_t bytes, int device) {
  for (Range* range = ranges; range != NULL; range = range->next)
    if (range->pinned == (device < 0) && (device < 0 || range->device == device) &&
        begin >= range->begin && begin + bytes <= range->begin + range->bytes)
      return 1;
  return 0;
}

int fake_is_foreign(Stream* stream, const void* pointer) {
  pthread_mutex_lock(&lock);
  Range* range = ranges;
  while (range != NULL && !((const char*)pointer >= range->begin &&
                            (const char*)pointer < range->begin + range->bytes))
    range = range->next;
  const int foreign = range != NULL && (range->pinned || range->device != stream->device);
  pthread_mutex_unlock(&lock);
  if (foreign) fault("an op is given memory that is not its GPU's");
  return foreign;
}

int cudaRuntimeGetVersion(int* out) { return *out = 13000, CUDA_OK; }
int cudaDriverGetVersion(int* out) { return *out = 13000, CUDA_OK; }

int cudaGetDeviceCount(int* out) {
  for (*out = 0; physical(*out) >= 0;) ++*out;
  return *out == 0 ? CUDA_NO_DEVICE : CUDA_OK;
}

int cudaSetDevice(int device) {
  if (device < 0 || device >= MAX_GPUS || physical(device) < 0) return CUDA_INVALID_DEVICE;
  current = device;
  return CUDA_OK;
}

int cudaGetDeviceProperties(char* out, int device) {
  memset(out, 0, 1008);
  snprintf(out, 256, "Fake GPU");
  memset(out + 256, 0x10 + physical(device), 16);
  return CUDA_OK;
}

int cudaDeviceGetAttribute(int* out, int attribute, int device) {
  (void)device;
  const int capability = (int)setting("FAKE_GPU_CAPABILITY", 90);
  *out = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 132;
  return CUDA_OK;
}

int cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = setting("FAKE_GPU_BYTES", (size_t)8 << 30);
  *free_bytes = *total - device_bytes[current];
  return CUDA_OK;
}

int cudaMalloc(void** out, size_t bytes) {
  pthread_mutex_lock(&lock);
  int status = CUDA_OUT_OF_MEMORY;
  if (device_bytes[current] + bytes <= setting("FAKE_GPU_BYTES", (size_t)8 << 30)) {
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*out, 0xCD, bytes);
    device_bytes[current] += bytes;
    status = add_range(*out, bytes, 0);
  }
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaFree(void* memory) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < 64; i++)
    if (streams[i] != NULL && streams[i]->device == current) drain(streams[i]);
  const int status = remove_range(memory, 0);
  pthread_mutex_unlock(&lock);
  return failed[current] != 0 ? failed[current] : status;
}

int cudaMallocHost(void** out, size_t bytes) {
  pthread_mutex_lock(&lock);
  *out = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  memset(*out, 0xCD, bytes);
  const int status = add_range(*out, bytes, 1);
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaFreeHost(void* memory) {
  pthread_mutex_lock(&lock);
  const int status = remove_range(memory, 1);
  pthread_mutex_unlock(&lock);
  return failed[current] != 0 ? failed[current] : status;
}

typedef struct {
  void* to;
  const void* from;
  size_t bytes;
} Copy;

static int run_copy(void* args) {
  const Copy* copy = args;
  memcpy(copy->to, copy->from, copy->bytes);
  return 0;
}

int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, Stream* stream) {
  if (kind != 1 && kind != 2) return fault("a copy has an unknown kind");
  pthread_mutex_lock(&lock);
  const int device = stream->device;
  const int found = lies_in(to, bytes, kind == 2 ? -1 : device) &&
                    lies_in(from, bytes, kind == 1 ? -1 : device);
  pthread_mutex_unlock(&lock);
  if (!found) return fault("a copy is not between pinned memory and the device");
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  const Copy copy = {to, from, bytes};
  return fake_submit(stream, run_copy, &copy, sizeof copy);
}

int cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes,
                        Stream* stream) {
  pthread_mutex_lock(&lock);
  const int found = lies_in(to, bytes, to_device) && lies_in(from, bytes, from_device);
  pthread_mutex_unlock(&lock);
  if (!found || stream->device != from_device || to_device == from_device)
    return fault("a copy is not from the stream's GPU to another one");
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  const Copy copy = {to, from, bytes};
  return fake_submit(stream, run_copy, &copy, sizeof copy);
}

/* FAKE_GPU_PEERS=0: no GPU reaches another one's memory. */
int cudaDeviceCanAccessPeer(int* out, int device, int peer) {
  if (device == peer) return CUDA_INVALID_DEVICE;
  *out = setting("FAKE_GPU_PEERS", 1) != 0;
  return CUDA_OK;
}

int cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return flags != 0 || peer == current ? CUDA_INVALID_VALUE : CUDA_OK;
}

int cudaGetLastError(void) { return CUDA_OK; }

int cudaStreamCreate(Stream** out) {
  *out = calloc(1, sizeof **out);
  (*out)->device = current;
  for (int i = 0; i < 64; i++)
    if (streams[i] == NULL) return streams[i] = *out, CUDA_OK;
  return CUDA_OUT_OF_MEMORY;
}

int cudaStreamDestroy(Stream* stream) {
  pthread_mutex_lock(&lock);
  drain(stream);
  int left = 0;
  const int device = stream->device;
  for (int i = 0; i < 64; i++) {
    if (streams[i] == stream) streams[i] = NULL;
    left += streams[i] != NULL && streams[i]->device == device;
  }
  const int status = failed[device];
  if (left == 0) failed[device] = 0;
  pthread_mutex_unlock(&lock);
  free(stream);
  return status;
}

int cudaStreamSynchronize(Stream* stream) {
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  pthread_mutex_lock(&lock);
  drain(stream);
  const int status = failed[stream->device];
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaStreamQuery(Stream* stream) {
  pthread_mutex_lock(&lock);
  const int left = stream->tasks.head != NULL;
  /* Time passes by looking, too. */
  if (left) step(stream);
  const int status = failed[stream->device];
  pthread_mutex_unlock(&lock);
  return status != 0 ? status : left ? CUDA_NOT_READY : CUDA_OK;
}

int cudaStreamBeginCapture(Stream* stream, int mode) {
  if (mode != 2 || stream->capture != NULL) return fault("a capture cannot begin");
  stream->capture = calloc(1, sizeof(Graph));
  return CUDA_OK;
}

int cudaStreamEndCapture(Stream* stream, Graph** out) {
  if (stream->capture == NULL) return fault("a capture ends that has not begun");
  *out = stream->capture;
  stream->capture = NULL;
  return CUDA_OK;
}

static void copy_tasks(Queue* to, const Queue* from) {
  for (Task* task = from->head; task != NULL; task = task->next)
    push(to, task->run, task->args, task->bytes);
}

int cudaGraphInstantiate(Graph** out, Graph* graph, unsigned long long flags) {
  if (flags != 0) return fault("a graph has flags");
  *out = calloc(1, sizeof **out);
  copy_tasks(&(*out)->tasks, &graph->tasks);
  return CUDA_OK;
}

int cudaGraphLaunch(Graph* graph, Stream* stream) {
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  if (stream->device != current) return fault("a graph is launched while another GPU is current");
  pthread_mutex_lock(&lock);
  copy_tasks(&stream->tasks, &graph->tasks);
  pthread_mutex_unlock(&lock);
  return CUDA_OK;
}

static int destroy(Graph* graph) {
  for (Task* task = graph->tasks.head; task != NULL;) {
    Task* next = task->next;
    free(task);
    task = next;
  }
  free(graph);
  return CUDA_OK;
}

int cudaGraphExecDestroy(Graph* graph) { return destroy(graph); }
int cudaGraphDestroy(Graph* graph) { return destroy(graph); }

int cudaEventCreateWithFlags(Event** out, unsigned flags) {
  if (flags != 0 && flags != 2) return fault("an event has unknown flags");
  *out = calloc(1, sizeof **out);
  (*out)->device = current;
  return CUDA_OK;
}

static int run_event(void* args) {
  Event* event;
  memcpy(&event, args, sizeof event);
  event->done++;
  event->ms = now_ms();
  return 0;
}

int cudaEventRecord(Event* event, Stream* stream) {
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  if (event->device != stream->device) return fault("an event is recorded on another GPU");
  event->stream = stream;
  event->recorded++;
  return fake_submit(stream, run_event, &event, sizeof event);
}

typedef struct {
  Event* event;
  int count;
} Wait;

/* What an event stood for when the wait was started: with the host's order there is no circle. */
static int run_wait(void* args) {
  const Wait* wait = args;
  Stream* stream = wait->event->stream;
  while (wait->event->done < wait->count && stream->tasks.head != NULL) step(stream);
  return 0;
}

int cudaStreamWaitEvent(Stream* stream, Event* event, unsigned flags) {
  if (flags != 0) return fault("a wait has flags");
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  const Wait wait = {event, event->recorded};
  return fake_submit(stream, run_wait, &wait, sizeof wait);
}

int cudaEventQuery(Event* event) {
  pthread_mutex_lock(&lock);
  if (event->done < event->recorded && event->stream->tasks.head != NULL) step(event->stream);
  pthread_mutex_unlock(&lock);
  if (failed[event->device] != 0) return failed[event->device];
  return event->done == event->recorded ? CUDA_OK : CUDA_NOT_READY;
}

int cudaEventSynchronize(Event* event) {
  if (event->stream == NULL) return CUDA_OK;
  pthread_mutex_lock(&lock);
  while (event->done < event->recorded && event->stream->tasks.head != NULL) step(event->stream);
  const int status = failed[event->device];
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaEventElapsedTime(float* out, Event* start, Event* end) {
  if (cudaEventQuery(start) != CUDA_OK || cudaEventQuery(end) != CUDA_OK) return CUDA_NOT_READY;
  *out = (float)(end->ms - start->ms);
  return CUDA_OK;
}

/* As a real one, it waits for nobody; the memory stays, as tasks of streams may still look at it. */
int cudaEventDestroy(Event* event) { return failed[event->device]; }

const char* cudaGetErrorName(int status) {
  return status == CUDA_NO_DEVICE        ? "cudaErrorNoDevice"
         : status == CUDA_OUT_OF_MEMORY  ? "cudaErrorMemoryAllocation"
         : status == CUDA_LAUNCH_FAILURE ? "cudaErrorLaunchFailure"
                                         : "cudaErrorUnknown";
}

const char* cudaGetErrorString(int status) {
  return status == CUDA_NO_DEVICE ? "no CUDA-capable device is detected" : "something is wrong";
}
