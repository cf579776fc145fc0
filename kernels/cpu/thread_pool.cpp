/*
 * The thread pool: one futex word carries "a loop is open" and "how many workers are inside".
 *
 * Opening a loop is one store, plus one system call if a worker sleeps. Workers enter by adding
 * one to the word while the loop is open, claim chunks from an atomic counter, and leave by
 * subtracting one. When the chunks are used up the caller closes the loop and waits only for the
 * workers inside. A worker that finds nothing to do spins for some 300 us, longer than ops of one
 * thread and the gaps between two ops of a layer, and then sleeps: waking an idle core of a virtual
 * machine takes some 100 us.
 *
 * Whoever waits for longer than that while others work takes naps: the other threads may have lost
 * their cores to another process for some ms, and only when a core becomes idle does the system
 * look for threads that wait for another core. One long sleep would give it a single chance.
 */
#include "thread_pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
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

/* Time stamp counter ticks, 2 to 4 per ns: 200 to 400 us. */
constexpr uint64_t kSpinTicks = 800000;
/* Pauses between two system calls that give the core away: 3 to 15 us, as a pause's length goes. */
constexpr uint32_t kYieldTurns = 256;

/* A nap. The system takes a thread from the core where it waits only 500 us after it last ran. */
constexpr int64_t kNapNs = 200000;
/* After so many naps without work a worker sleeps: 4 ms, more than a time slice. */
constexpr int32_t kNaps = 20;

/* Chunks get smaller when less is left than so many for every thread, so that all end together. */
constexpr int64_t kChunksLeft = 2;

constexpr size_t kStackBytes = 1 << 20;

}  // namespace

class ThreadPool {
 public:
  alignas(64) std::atomic<uint32_t> word{0};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int32_t> sleeping{0};
  std::atomic<int32_t> caller_sleeps{0};
  int64_t count = 0;
  Grain grain = 1;
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

void sleep_on(std::atomic<uint32_t>& word, uint32_t value, uint32_t bit, const timespec* until) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE, value, until,
          nullptr, bit);
}

void nap_on(std::atomic<uint32_t>& word, uint32_t value, uint32_t bit) {
  timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += kNapNs;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  sleep_on(word, value, bit, &until);
}

void wake(std::atomic<uint32_t>& word, int32_t threads, uint32_t bit) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_BITSET_PRIVATE, threads,
          nullptr, nullptr, bit);
}

/* Waits for a moment. Once in a while another thread may have the core: it may be the one that is
 * waited for, and alone on its core a thread gets it back at once. */
void spin(uint32_t& turns) {
  _mm_pause();
  if (++turns % kYieldTurns == 0) sched_yield();
}

/* Takes the next chunk: where it begins, and how long it is; 0 if all are taken. */
int64_t claim(ThreadPool& pool, int64_t& begin) {
  const Grain& grain = pool.grain;
  begin = pool.next.load(std::memory_order_relaxed);
  for (;;) {
    const int64_t left = pool.count - begin;
    if (left <= 0) return 0;
    const int64_t share = left / (kChunksLeft * (pool.workers + 1));
    const int64_t length = min64(left, max64(grain.least, min64(grain.most, share)));
    if (pool.next.compare_exchange_weak(begin, begin + length, std::memory_order_relaxed)) {
      return length;
    }
  }
}

void claim_chunks(ThreadPool& pool, int32_t worker) {
  int64_t begin;
  while (const int64_t length = claim(pool, begin)) {
    pool.function(pool.body, begin, begin + length, worker);
  }
}

/* Returns the word once it holds another open loop than `seen`, or the stop bit. */
uint32_t await_loop(ThreadPool& pool, uint32_t seen) {
  const auto wanted = [seen](uint32_t word) {
    return (word & kStop) != 0 || ((word & kOpen) != 0 && word / kLoopUnit != seen);
  };
  const uint64_t start = __rdtsc();
  uint32_t turns = 0;
  int32_t naps = 0;
  uint32_t word = pool.word.load(std::memory_order_acquire);
  while (!wanted(word)) {
    if (__rdtsc() - start < kSpinTicks) {
      spin(turns);
    } else {
      /* The order of these two against open_loop's store and load: sequentially consistent, so
       * either the caller sees a sleeper or the kernel sees the new word. */
      pool.sleeping.fetch_add(1);
      const uint32_t current = pool.word.load();
      if (!wanted(current)) {
        const bool in_loop = (current & (kOpen | kInsideMask)) != 0;
        if (in_loop || naps < kNaps) {
          nap_on(pool.word, current, kWorkersBit);
          ++naps;
        } else {
          sleep_on(pool.word, current, kWorkersBit, nullptr);
        }
      }
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
    /* Sequentially consistent, as await_workers' store and load are: either this thread sees that
     * the caller sleeps, or the caller sees the new word. */
    const uint32_t left = pool.word.fetch_sub(1) - 1;
    if ((left & (kInsideMask | kOpen)) == 0 && pool.caller_sleeps.load() != 0) {
      wake(pool.word, 1, kCallerBit);
    }
  }
}

void await_workers(ThreadPool& pool) {
  const uint64_t start = __rdtsc();
  uint32_t turns = 0;
  for (;;) {
    const uint32_t word = pool.word.load(std::memory_order_acquire);
    if ((word & kInsideMask) == 0) return;
    if (__rdtsc() - start < kSpinTicks) {
      spin(turns);
    } else {
      pool.caller_sleeps.store(1);
      const uint32_t current = pool.word.load();
      if ((current & kInsideMask) != 0) nap_on(pool.word, current, kCallerBit);
      pool.caller_sleeps.store(0);
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

void run_chunks(ThreadPool* pool, int64_t count, const Grain& grain, ChunkFunction function,
                const void* body) {
  if (count <= 0) return;
  if (count <= grain.alone || pool->workers == 0) {
    for (int64_t begin = 0; begin < count; begin += grain.most) {
      function(body, begin, min64(count, begin + grain.most), 0);
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
