/*
 * Threads that share the chunks of one loop and sleep when there is none.
 *
 * The caller works too, and never waits for a worker that has not begun: a worker whose core is
 * taken by another process costs nothing but its share of the work.
 */
#ifndef SX_CPU_THREAD_POOL_H
#define SX_CPU_THREAD_POOL_H

#include "common.h"

namespace sx {

/* A loop body: items begin..end-1, run by worker number `worker` (0 is the caller). */
typedef void (*ChunkFunction)(const void* body, int64_t begin, int64_t end, int32_t worker);

/* How many items a chunk has: `most`, and fewer, down to `least`, when few are left. */
struct Grain {
  int64_t most;
  int64_t least;
  int64_t alone; /* as many items are not worth waking others: the caller runs them all */

  Grain(int64_t items) : most(items), least((items + 3) / 4), alone(items) {}
  Grain(int64_t most_items, int64_t least_items)
      : most(max64(most_items, least_items)), least(least_items), alone(least_items) {}
};

/* Starts threads - 1 workers (fewer if the system refuses more). Null without memory. */
ThreadPool* create_pool(int32_t threads);
void destroy_pool(ThreadPool* pool);
/* Calls function for all chunks of 0..count-1 and returns when all are done. */
void run_chunks(ThreadPool* pool, int64_t count, const Grain& grain, ChunkFunction function,
                const void* body);

template <class Body>
static void call_body(const void* body, int64_t begin, int64_t end, int32_t worker) {
  (*static_cast<const Body*>(body))(begin, end, worker);
}

/* Calls body(begin, end, worker) for chunks of at most `grain.most` items, in any order, worker
 * being below context.threads. What a body computes for an item must depend neither on the worker
 * nor on the chunk: both change from run to run. */
template <class Body>
static inline void parallel_for(Context& context, int64_t count, const Grain& grain,
                                const Body& body) {
  run_chunks(context.pool, count, grain, &call_body<Body>, &body);
}

/* Items per chunk so that a chunk touches about 64 KiB: large against the cost of claiming one
 * (about 50 ns), small against a time slice. */
SX_INLINE int64_t row_grain(int64_t bytes_per_row) {
  return max64(1, 65536 / max64(1, bytes_per_row));
}

}  // namespace sx

#endif
