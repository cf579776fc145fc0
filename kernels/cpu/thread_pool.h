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

/* Starts threads - 1 workers (fewer if the system refuses more). Null without memory. */
ThreadPool* create_pool(int32_t threads);
void destroy_pool(ThreadPool* pool);
/* Calls function for all chunks of `grain` items of 0..count-1 and returns when all are done. */
void run_chunks(ThreadPool* pool, int64_t count, int64_t grain, ChunkFunction function,
                const void* body);

template <class Body>
static void call_body(const void* body, int64_t begin, int64_t end, int32_t worker) {
  (*static_cast<const Body*>(body))(begin, end, worker);
}

/* Calls body(begin, end, worker) for chunks of at most `grain` items, in any order, worker being
 * below context.threads. A body must not depend on which worker runs it. */
template <class Body>
static inline void parallel_for(Context& context, int64_t count, int64_t grain, const Body& body) {
  run_chunks(context.pool, count, grain, &call_body<Body>, &body);
}

/* Items per chunk so that a chunk touches about 64 KiB: large against the cost of claiming one
 * (about 50 ns), small against a time slice. */
SX_INLINE int64_t row_grain(int64_t bytes_per_row) {
  return max64(1, 65536 / max64(1, bytes_per_row));
}

}  // namespace sx

#endif
