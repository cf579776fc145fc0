/* A stand-in for NCCL within one process: host memory takes the place of device memory, and a
 * stream is a number. It checks what it is given and does what NCCL promises, no faster than its
 * callers poll. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  char internal[128];
} ncclUniqueId;

enum { MAX_RANKS = 8, MAX_COMMS = 256, MAX_OPS = 4096, MAX_GROUPS = 128 };
enum { SUCCESS = 0, INVALID_ARGUMENT = 4, REMOTE_ERROR = 6, IN_PROGRESS = 7 };

typedef struct {
  const void *from[MAX_RANKS];
  void *to[MAX_RANKS];
  size_t bytes;
  int arrived;
} Op;

typedef struct {
  int size, joined, left, broken, op_count;
  Op ops[64];
} Group;

typedef struct {
  int used, group, rank, op_count, polls, finalized;
  uint64_t stream;
} Comm;

static Group groups[MAX_GROUPS];
static Comm comms[MAX_COMMS];
static int next_group;
static char log_text[1 << 16];
static int pending_of_stream[1024];

static void note(const char *name, int rank) {
  size_t length = strlen(log_text);
  if (length + 64 < sizeof log_text) snprintf(log_text + length, 64, "%s %d\n", name, rank);
}

/* For tests: the calls so far. */
int stub_log(char *out, int capacity) {
  int length = (int)strlen(log_text);
  if (length > capacity) length = capacity;
  memcpy(out, log_text, (size_t)length);
  log_text[0] = 0;
  return length;
}

/* For tests: exchanges of a stream that have not ended. */
int stub_pending(uint64_t stream) { return pending_of_stream[stream % 1024]; }

/* For tests: a rank of the last group is lost, as NCCL reports it. */
void stub_break(void) { groups[next_group - 1].broken = 1; }

int ncclGetVersion(int *version) {
  *version = 21803;
  return SUCCESS;
}

int ncclGetUniqueId(ncclUniqueId *id) {
  for (int i = 0; i < 128; i++) id->internal[i] = (char)(i * 7 + next_group);
  memset(&groups[next_group], 0, sizeof groups[next_group]);
  id->internal[0] = (char)next_group++;
  return SUCCESS;
}

int ncclCommInitRankConfig(void **out, int size, ncclUniqueId id, int rank, const void *config) {
  const char *c = config;
  uint64_t bytes;
  uint32_t magic;
  int32_t blocking, group = id.internal[0];
  memcpy(&bytes, c, 8);
  memcpy(&magic, c + 8, 4);
  memcpy(&blocking, c + 16, 4);
  if (bytes < 40 || magic != 0xcafebeef || blocking != 0) return INVALID_ARGUMENT;
  for (int i = 1; i < 128; i++)
    if (id.internal[i] != (char)(i * 7 + group)) return INVALID_ARGUMENT;
  if (rank < 0 || rank >= size || size > MAX_RANKS) return INVALID_ARGUMENT;
  for (int i = 0; i < MAX_COMMS; i++) {
    if (comms[i].used) continue;
    comms[i] = (Comm){.used = 1, .group = group, .rank = rank};
    groups[group].size = size;
    groups[group].joined++;
    *out = &comms[i];
    note("init", rank);
    return IN_PROGRESS;
  }
  return INVALID_ARGUMENT;
}

int ncclCommGetAsyncError(Comm *comm, int *error) {
  Group *group = &groups[comm->group];
  *error = SUCCESS;
  if (group->joined < group->size || comm->polls++ < 2) *error = IN_PROGRESS;
  if (comm->finalized && group->left < group->size) *error = IN_PROGRESS;
  if (group->broken) *error = REMOTE_ERROR;
  return SUCCESS;
}

/* Begins an operation; NULL if it is not the same on all ranks, or the one before is not in its
 * stream yet: another thread of NCCL's puts it there, and who looks knows when. */
static Op *begin(Comm *comm, size_t count, int type) {
  Group *group = &groups[comm->group];
  if (type != 1 || comm->polls < 2) return NULL;
  comm->polls = 0;
  int index = comm->op_count++;
  Op *op = &group->ops[index % 64];
  if (index == group->op_count) {
    memset(op, 0, sizeof *op);
    group->op_count++;
    op->bytes = count;
  }
  return op->bytes == count ? op : NULL;
}

/* Whether all ranks have come; until then their streams wait. */
static int arrive(const char *name, Op *op, Comm *comm, uint64_t stream) {
  comm->stream = stream;
  pending_of_stream[stream % 1024]++;
  note(name, comm->rank);
  if (++op->arrived < groups[comm->group].size) return 0;
  for (int i = 0; i < MAX_COMMS; i++)
    if (comms[i].used && comms[i].group == comm->group)
      pending_of_stream[comms[i].stream % 1024]--;
  return 1;
}

int ncclAllGather(const void *from, void *to, size_t count, int type, Comm *comm,
                  uint64_t stream) {
  const int size = groups[comm->group].size;
  Op *op = begin(comm, count, type);
  if (op == NULL) return INVALID_ARGUMENT;
  op->from[comm->rank] = from;
  op->to[comm->rank] = to;
  if (!arrive("allGather", op, comm, stream)) return IN_PROGRESS;
  for (int i = 0; i < size; i++)
    for (int j = 0; j < size; j++)
      memcpy((char *)op->to[i] + (size_t)j * count, op->from[j], count);
  return IN_PROGRESS;
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, Comm *comm,
                  uint64_t stream) {
  Op *op = begin(comm, count, type);
  if (op == NULL || from != to) return INVALID_ARGUMENT;
  op->to[comm->rank] = to;
  if (!arrive("broadcast", op, comm, stream)) return IN_PROGRESS;
  for (int i = 0; i < groups[comm->group].size; i++)
    if (i != root) memcpy(op->to[i], op->to[root], count);
  return IN_PROGRESS;
}

int ncclCommFinalize(Comm *comm) {
  comm->finalized = 1;
  groups[comm->group].left++;
  note("finalize", comm->rank);
  return IN_PROGRESS;
}

int ncclCommDestroy(Comm *comm) {
  note("destroy", comm->rank);
  comm->used = 0;
  return SUCCESS;
}

int ncclCommAbort(Comm *comm) {
  note("abort", comm->rank);
  pending_of_stream[comm->stream % 1024] = 0;
  comm->used = 0;
  return SUCCESS;
}

const char *ncclGetErrorString(int result) {
  return result == REMOTE_ERROR ? "remote process exited" : "invalid argument";
}
