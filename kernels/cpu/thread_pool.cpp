/*
 * The thread pool: one futex word carries "a loop is open" and "how many workers are inside".
 *
 * Opening a loop is one store, plus one system call if a worker sleeps. Workers enter by adding
 * one to the word while the loop is open, claim chunks from an atomic counter, and leave by
 * subtracting one. When the chunks are used up the caller closes the loop and waits only for the
 * workers inside. A worker that finds nothing to do spins for about 50 us, the gap between two ops
 * of a layer, and then sleeps.
 */
#include "thread_pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <new>

namespace sx {
namespace {

/* Bits of the word: workers inside (0..255 fit), loop open, stop, and a loop number above. */
constexpr uint32_t kInsideMask = 0x3ff;
constexpr uint32_t kOpen = 0x400;
constexpr uint32_t kStop = 0x800;
constexpr uint32_t kLoopUnit = 0x1000;

/* Who sleeps on the word: workers wait for a loop, the caller for the last worker to leave. */
constexpr uint32_t kWorkersBit = 1;
constexpr uint32_t kCallerBit = 2;

/* Time stamp counter ticks, 2 to 4 per ns: 40 to 80 us. */
constexpr uint64_t kSpinTicks = 160000;

constexpr size_t kStackBytes = 1 << 20;

}  // namespace

class ThreadPool {
 public:
  alignas(64) std::atomic<uint32_t> word{0};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int32_t> sleeping{0};
  int64_t count = 0;
  int64_t grain = 1;
  ChunkFunction function = nullptr;
  const void* body = nullptr;
  int32_t workers = 0;
  pthread_t* threads = nullptr;
};

namespace {

struct Start {
  ThreadPool* pool;
  int32_t worker;
};

void sleep_on(std::atomic<uint32_t>& word, uint32_t value, uint32_t bit) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE, value, nullptr,
          nullptr, bit);
}

void wake(std::atomic<uint32_t>& word, int32_t threads, uint32_t bit) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_BITSET_PRIVATE, threads,
          nullptr, nullptr, bit);
}

void claim_chunks(ThreadPool& pool, int32_t worker) {
  const int64_t count = pool.count;
  const int64_t grain = pool.grain;
  const int64_t chunks = ceil_div(count, grain);
  for (;;) {
    const int64_t chunk = pool.next.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= chunks) return;
    pool.function(pool.body, chunk * grain, min64(count, (chunk + 1) * grain), worker);
  }
}

/* Returns the word once it holds another open loop than `seen`, or the stop bit. */
uint32_t await_loop(ThreadPool& pool, uint32_t seen) {
  const auto wanted = [seen](uint32_t word) {
    return (word & kStop) != 0 || ((word & kOpen) != 0 && word / kLoopUnit != seen);
  };
  const uint64_t start = __rdtsc();
  uint32_t word = pool.word.load(std::memory_order_acquire);
  while (!wanted(word)) {
    if (__rdtsc() - start < kSpinTicks) {
      _mm_pause();
    } else {
      /* The order of these two against open_loop's store and load: sequentially consistent, so
       * either the caller sees a sleeper or the kernel sees the new word. */
      pool.sleeping.fetch_add(1);
      const uint32_t current = pool.word.load();
      if (!wanted(current)) sleep_on(pool.word, current, kWorkersBit);
      pool.sleeping.fetch_sub(1);
    }
    word = pool.word.load(std::memory_order_acquire);
  }
  return word;
}

void* worker_main(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  free(argument);
  ThreadPool& pool = *start.pool;
  uint32_t seen = 0;
  for (;;) {
    uint32_t word = await_loop(pool, seen);
    if (word & kStop) return nullptr;
    if (!pool.word.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel)) continue;
    seen = word / kLoopUnit;
    claim_chunks(pool, start.worker);
    const uint32_t left = pool.word.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if ((left & (kInsideMask | kOpen)) == 0) wake(pool.word, 1, kCallerBit);
  }
}

void await_workers(ThreadPool& pool) {
  const uint64_t start = __rdtsc();
  for (;;) {
    const uint32_t word = pool.word.load(std::memory_order_acquire);
    if ((word & kInsideMask) == 0) return;
    if (__rdtsc() - start < kSpinTicks) {
      _mm_pause();
    } else {
      sleep_on(pool.word, word, kCallerBit);
    }
  }
}

}  // namespace

ThreadPool* create_pool(int32_t threads) {
  ThreadPool* pool = new (std::nothrow) ThreadPool;
  if (pool == nullptr) return nullptr;
  pool->threads = static_cast<pthread_t*>(calloc(static_cast<size_t>(threads), sizeof(pthread_t)));
  if (pool->threads == nullptr) {
    delete pool;
    return nullptr;
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  for (int32_t worker = 1; worker < threads; ++worker) {
    Start* start = static_cast<Start*>(malloc(sizeof(Start)));
    if (start == nullptr) break;
    *start = Start{pool, worker};
    if (pthread_create(&pool->threads[pool->workers], &attributes, worker_main, start) != 0) {
      free(start);
      break;
    }
    ++pool->workers;
  }
  pthread_attr_destroy(&attributes);
  return pool;
}

void destroy_pool(ThreadPool* pool) {
  pool->word.fetch_or(kStop);
  wake(pool->word, INT32_MAX, kWorkersBit);
  for (int32_t i = 0; i < pool->workers; ++i) pthread_join(pool->threads[i], nullptr);
  free(pool->threads);
  delete pool;
}

void run_chunks(ThreadPool* pool, int64_t count, int64_t grain, ChunkFunction function,
                const void* body) {
  if (count <= 0) return;
  if (count <= grain || pool->workers == 0) {
    for (int64_t begin = 0; begin < count; begin += grain) {
      function(body, begin, min64(count, begin + grain), 0);
    }
    return;
  }
  pool->count = count;
  pool->grain = grain;
  pool->function = function;
  pool->body = body;
  pool->next.store(0, std::memory_order_relaxed);
  const uint32_t loop = pool->word.load(std::memory_order_relaxed) / kLoopUnit + 1;
  pool->word.store(loop * kLoopUnit | kOpen);
  if (pool->sleeping.load() > 0) wake(pool->word, INT32_MAX, kWorkersBit);
  claim_chunks(*pool, 0);
  pool->word.fetch_and(~kOpen, std::memory_order_acq_rel);
  await_workers(*pool);
}

}  // namespace sx
