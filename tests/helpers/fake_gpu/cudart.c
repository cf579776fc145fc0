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
};

typedef struct {
  Stream* stream;
  int recorded, done;
  double ms;
} Event;

typedef struct Range {
  struct Range* next;
  char* begin;
  size_t bytes;
  int pinned;
} Range;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Range* ranges;
static size_t device_bytes;
static Stream* streams[64];
/* After a failure every call fails, until the last stream is gone. */
static int failed;

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

/* Runs the first task; lets others have the lock when it has to wait. */
static void step(Stream* stream) {
  Task* task = stream->tasks.head;
  const int status = failed == 0 ? task->run(task->args) : 0;
  if (status == FAKE_AGAIN) {
    pthread_mutex_unlock(&lock);
    usleep(50);
    pthread_mutex_lock(&lock);
    return;
  }
  if (status != 0) failed = CUDA_LAUNCH_FAILURE;
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

static void drain(Stream* stream) {
  while (stream->tasks.head != NULL) step(stream);
}

static int add_range(void* memory, size_t bytes, int pinned) {
  Range* range = malloc(sizeof *range);
  *range = (Range){ranges, memory, bytes, pinned};
  ranges = range;
  return CUDA_OK;
}

static int remove_range(void* memory, int pinned) {
  for (Range** link = &ranges; *link != NULL; link = &(*link)->next) {
    Range* range = *link;
    if (range->begin != memory || range->pinned != pinned) continue;
    *link = range->next;
    if (!pinned) device_bytes -= range->bytes;
    memset(range->begin, 0xDD, range->bytes);
    free(range->begin);
    free(range);
    return CUDA_OK;
  }
  return fault("memory is freed that nobody allocated");
}

static int lies_in(const char* begin, size_t bytes, int pinned) {
  for (Range* range = ranges; range != NULL; range = range->next)
    if (range->pinned == pinned && begin >= range->begin &&
        begin + bytes <= range->begin + range->bytes)
      return 1;
  return 0;
}

int cudaRuntimeGetVersion(int* out) { return *out = 13000, CUDA_OK; }
int cudaDriverGetVersion(int* out) { return *out = 13000, CUDA_OK; }

int cudaGetDeviceCount(int* out) {
  for (*out = 0; physical(*out) >= 0;) ++*out;
  return *out == 0 ? CUDA_NO_DEVICE : CUDA_OK;
}

int cudaSetDevice(int device) {
  return device >= 0 && physical(device) >= 0 ? CUDA_OK : CUDA_INVALID_DEVICE;
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
  *free_bytes = *total - device_bytes;
  return CUDA_OK;
}

int cudaMalloc(void** out, size_t bytes) {
  pthread_mutex_lock(&lock);
  int status = CUDA_OUT_OF_MEMORY;
  if (device_bytes + bytes <= setting("FAKE_GPU_BYTES", (size_t)8 << 30)) {
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*out, 0xCD, bytes);
    device_bytes += bytes;
    status = add_range(*out, bytes, 0);
  }
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaFree(void* memory) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < 64; i++)
    if (streams[i] != NULL) drain(streams[i]);
  const int status = remove_range(memory, 0);
  pthread_mutex_unlock(&lock);
  return failed != 0 ? failed : status;
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
  return failed != 0 ? failed : status;
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
  const int found = lies_in(to, bytes, kind == 2) && lies_in(from, bytes, kind == 1);
  pthread_mutex_unlock(&lock);
  if (!found) return fault("a copy is not between pinned memory and the device");
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  const Copy copy = {to, from, bytes};
  return fake_submit(stream, run_copy, &copy, sizeof copy);
}

int cudaStreamCreate(Stream** out) {
  *out = calloc(1, sizeof **out);
  for (int i = 0; i < 64; i++)
    if (streams[i] == NULL) return streams[i] = *out, CUDA_OK;
  return CUDA_OUT_OF_MEMORY;
}

int cudaStreamDestroy(Stream* stream) {
  pthread_mutex_lock(&lock);
  drain(stream);
  int left = 0;
  for (int i = 0; i < 64; i++) {
    if (streams[i] == stream) streams[i] = NULL;
    left += streams[i] != NULL;
  }
  const int status = failed;
  if (left == 0) failed = 0;
  pthread_mutex_unlock(&lock);
  free(stream);
  return status;
}

int cudaStreamSynchronize(Stream* stream) {
  if (stream->capture != NULL) return CUDA_CAPTURE_UNSUPPORTED;
  pthread_mutex_lock(&lock);
  drain(stream);
  const int status = failed;
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaStreamQuery(Stream* stream) {
  pthread_mutex_lock(&lock);
  const int left = stream->tasks.head != NULL;
  /* Time passes by looking, too. */
  if (left) step(stream);
  const int status = failed;
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
  event->stream = stream;
  event->recorded++;
  return fake_submit(stream, run_event, &event, sizeof event);
}

int cudaEventQuery(Event* event) {
  pthread_mutex_lock(&lock);
  if (event->done < event->recorded && event->stream->tasks.head != NULL) step(event->stream);
  pthread_mutex_unlock(&lock);
  if (failed != 0) return failed;
  return event->done == event->recorded ? CUDA_OK : CUDA_NOT_READY;
}

int cudaEventSynchronize(Event* event) {
  if (event->stream == NULL) return CUDA_OK;
  pthread_mutex_lock(&lock);
  while (event->done < event->recorded && event->stream->tasks.head != NULL) step(event->stream);
  const int status = failed;
  pthread_mutex_unlock(&lock);
  return status;
}

int cudaEventElapsedTime(float* out, Event* start, Event* end) {
  if (cudaEventQuery(start) != CUDA_OK || cudaEventQuery(end) != CUDA_OK) return CUDA_NOT_READY;
  *out = (float)(end->ms - start->ms);
  return CUDA_OK;
}

int cudaEventDestroy(Event* event) {
  pthread_mutex_lock(&lock);
  if (event->stream != NULL) drain(event->stream);
  pthread_mutex_unlock(&lock);
  free(event);
  return failed;
}

const char* cudaGetErrorName(int status) {
  return status == CUDA_NO_DEVICE        ? "cudaErrorNoDevice"
         : status == CUDA_OUT_OF_MEMORY  ? "cudaErrorMemoryAllocation"
         : status == CUDA_LAUNCH_FAILURE ? "cudaErrorLaunchFailure"
                                         : "cudaErrorUnknown";
}

const char* cudaGetErrorString(int status) {
  return status == CUDA_NO_DEVICE ? "no CUDA-capable device is detected" : "something is wrong";
}
