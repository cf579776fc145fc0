/* NCCL of the fake GPU, between processes: an exchange is a task of a stream that is done when the
 * tasks of all ranks have met in shared memory; see fake.h. As NCCL does with communicators that do
 * not block, it puts an exchange into the stream some time after the call: who asks learns when. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

enum { MAX_RANKS = 8, SLOT_BYTES = 1 << 18, LATE_LOOKS = 3 };
enum { SUCCESS = 0, INVALID_ARGUMENT = 4, IN_PROGRESS = 7 };

typedef struct {
  char name[128];
} ncclUniqueId;

typedef struct {
  atomic_int joined;
  atomic_long arrived[MAX_RANKS];
  /* Two for each rank, by the parity of the step. */
  char slots[MAX_RANKS][2][SLOT_BYTES];
} Shared;

typedef struct Comm Comm;

/* An exchange; `root` is -1 for an all-gather. */
typedef struct {
  Comm* comm;
  const char* from;
  char* to;
  size_t bytes, done;
  int root, has_arrived;
} Op;

struct Comm {
  Shared* shared;
  int rank, size;
  atomic_int aborted;
  long step;
  /* What is still on its way into a stream. */
  Op late;
  Stream* stream;
  int looks;
};

int ncclGetVersion(int* version) { return *version = 22905, SUCCESS; }

int ncclGetUniqueId(ncclUniqueId* id) {
  static int count;
  memset(id, 0, sizeof *id);
  snprintf(id->name, sizeof id->name, "/fake-nccl-%d-%d", getpid(), count++);
  return SUCCESS;
}

int ncclCommInitRankConfig(Comm** out, int size, ncclUniqueId id, int rank, const void* config) {
  (void)config;
  if (size > MAX_RANKS || rank >= size) return INVALID_ARGUMENT;
  const int file = shm_open(id.name, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return INVALID_ARGUMENT;
  Comm* comm = calloc(1, sizeof *comm);
  comm->shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  comm->rank = rank;
  comm->size = size;
  if (atomic_fetch_add(&comm->shared->joined, 1) + 1 == size) shm_unlink(id.name);
  *out = comm;
  return IN_PROGRESS;
}

static int run_op(void* args) {
  Op* op = args;
  Comm* comm = op->comm;
  Shared* shared = comm->shared;
  while (op->done < op->bytes && !atomic_load(&comm->aborted)) {
    const size_t rest = op->bytes - op->done, count = rest < SLOT_BYTES ? rest : SLOT_BYTES;
    const long step = comm->step + 1;
    if (!op->has_arrived) {
      if (op->root < 0 || op->root == comm->rank)
        memcpy(shared->slots[comm->rank][step & 1], op->from + op->done, count);
      atomic_store(&shared->arrived[comm->rank], step);
      op->has_arrived = 1;
    }
    for (int rank = 0; rank < comm->size; rank++)
      if (atomic_load(&shared->arrived[rank]) < step) return FAKE_AGAIN;
    for (int rank = 0; rank < comm->size; rank++) {
      if (op->root >= 0 && op->root != rank) continue;
      char* to = op->root < 0 ? op->to + (size_t)rank * op->bytes : op->to;
      memmove(to + op->done, shared->slots[rank][step & 1], count);
    }
    comm->step = step;
    op->has_arrived = 0;
    op->done += count;
  }
  return 0;
}

static int begin(Comm* comm, Op op, Stream* stream) {
  if (comm->stream != NULL) return INVALID_ARGUMENT;
  op.comm = comm;
  comm->late = op;
  comm->stream = stream;
  comm->looks = LATE_LOOKS;
  return IN_PROGRESS;
}

int ncclAllGather(const void* from, void* to, size_t bytes, int type, Comm* comm, Stream* stream) {
  if (type != 1) return INVALID_ARGUMENT;
  return begin(comm, (Op){.from = from, .to = to, .bytes = bytes, .root = -1}, stream);
}

int ncclBroadcast(const void* from, void* to, size_t bytes, int type, int root, Comm* comm,
                  Stream* stream) {
  if (type != 1 || root < 0 || root >= comm->size) return INVALID_ARGUMENT;
  return begin(comm, (Op){.from = from, .to = to, .bytes = bytes, .root = root}, stream);
}

int ncclCommGetAsyncError(Comm* comm, int* error) {
  *error = atomic_load(&comm->shared->joined) < comm->size ? IN_PROGRESS : SUCCESS;
  if (comm->stream == NULL) return SUCCESS;
  *error = IN_PROGRESS;
  if (--comm->looks > 0) return SUCCESS;
  fake_submit(comm->stream, run_op, &comm->late, sizeof comm->late);
  comm->stream = NULL;
  return SUCCESS;
}

int ncclCommFinalize(Comm* comm) { return comm->stream == NULL ? SUCCESS : INVALID_ARGUMENT; }
int ncclCommDestroy(Comm* comm) { return ncclCommFinalize(comm); }

/* The memory stays: tasks may still look at it. */
int ncclCommAbort(Comm* comm) {
  atomic_store(&comm->aborted, 1);
  return SUCCESS;
}

const char* ncclGetErrorString(int result) {
  return result == INVALID_ARGUMENT ? "invalid argument" : "unknown";
}
