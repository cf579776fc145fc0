/*
 * Hopper's own instructions (sm_90a), one function each: barriers in shared memory that count bytes,
 * the copy engine, and the tensor cores' asynchronous products of a warpgroup (PTX ISA 8.0,
 * "wgmma", "cp.async.bulk.tensor", "mbarrier").
 *
 * A warpgroup is four consecutive warps, the first of a number divisible by four. It holds of a
 * 64 x n accumulator, in thread t, element 4*j + 2*h + i: row 16*(t/32) + t%32/4 + 8*h, column
 * 8*j + 2*(t%4) + i; of A in registers (16 columns) word 2*c + h: the same row, columns
 * 8*c + 2*(t%4) and the next.
 *
 * Operands in shared memory are boxes of rows of 64 elements (128 bytes) on 1024-byte boundaries, the
 * 16-byte chunks of a row being permuted by its number modulo 8, as the copy engine writes them.
 */
#ifndef SX_CUDA_HOPPER_CUH
#define SX_CUDA_HOPPER_CUH

#include <cuda.h>

#include "mma.cuh"

namespace sx {
namespace cuda {

constexpr int kWarpgroup = 128;
/* Bytes of a row of a box: the widest that is permuted. */
constexpr int kBoxRowBytes = 128;
constexpr int kBoxColumns = kBoxRowBytes / 2;

/* ------------------------------------------------------------------ barriers in shared memory */

/* A barrier's phase ends with its last arrival and the last of the bytes that it expects. */
__device__ inline void init_barrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/* Shows initialized barriers to the copy engine; a barrier of the block has to follow. */
__device__ inline void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/* Arrives and lets the phase end only after `bytes` more have been copied. */
__device__ inline void arrive_expecting(uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ inline bool phase_ended(uint32_t barrier, uint32_t parity) {
  uint32_t ended;
  asm volatile(
      "{\n.reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n}"
      : "=r"(ended)
      : "r"(barrier), "r"(parity)
      : "memory");
  return ended != 0;
}
/* Waits for the end of the phase of this parity; a new barrier is in phase 0, and the phase before it,
 * of parity 1, counts as ended. */
__device__ inline void wait_phase(uint32_t barrier, uint32_t parity) {
  while (!phase_ended(barrier, parity)) {
  }
}

/* The same for those who have time: between its looks a thread leaves the multiprocessor to others. */
__device__ inline void wait_idly(uint32_t barrier, uint32_t parity) {
  while (!phase_ended(barrier, parity)) __nanosleep(200);
}

/* A place in a ring of stages, and the parity of its barriers' phase. */
template <int kStages>
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;

  __device__ void advance() {
    stage++;
    if (stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/* By all threads of a warp: arrives for the warp, once all of its lanes are done with a stage. */
__device__ inline void release(uint32_t barrier) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) arrive(barrier);
}

/* The same for both blocks of a pair: the barriers at one place of their shared memory. */
__device__ inline void release_pair(uint32_t barrier) {
  __syncwarp();
  const uint32_t block = threadIdx.x % 32;
  if (block < 2) {
    asm volatile(
        "{\n.reg .b32 place;\n"
        "mapa.shared::cluster.u32 place, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [place];\n}" ::"r"(barrier),
        "r"(block)
        : "memory");
  }
}

/* Pairs of blocks, which are on two multiprocessors at one time (a cluster of two): the number of one
 * in its pair, and a barrier of all their threads. */
__device__ inline uint32_t rank_in_pair() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ inline void sync_pair() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

/* Barriers of some warps, by number: `threads` counts those that wait and those that only arrive. */
__device__ inline void sync_named(int number, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}
__device__ inline void arrive_named(int number, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

/* ------------------------------------------------------------------------------ copy engine */

/* Copies the map's box at (column, row, head) to shared memory; what lies outside of the tensor
 * becomes zero. The barrier counts the bytes of the whole box. */
__device__ inline void copy_box(uint32_t to, const CUtensorMap* map, uint32_t barrier, int column,
                                int row, int head) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(map)), "r"(barrier), "r"(column), "r"(row), "r"(head)
      : "memory");
}

/* The same to both blocks of a pair, at one place of their shared memory; each one's barrier counts what
 * comes to it. */
__device__ inline void copy_box_to_pair(uint32_t to, const CUtensorMap* map, uint32_t barrier,
                                        int column, int row, int head) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(map)), "r"(barrier), "r"(column), "r"(row), "r"(head),
      "h"(static_cast<uint16_t>(3))
      : "memory");
}

/* The same as copy_box() for a map of groups of tokens: at (column, token of a group, group, head). */
__device__ inline void copy_groups(uint32_t to, const CUtensorMap* map, uint32_t barrier,
                                   int column, int token, int group, int head) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(map)), "r"(barrier), "r"(column), "r"(token), "r"(group),
      "r"(head)
      : "memory");
}

/* ------------------------------------------------------------------------------ tensor cores */

/* Registers per thread of the calling warpgroup from here on. */
template <int kCount>
__device__ inline void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ inline void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

/* Describes an operand that begins at an address: bits 0-13 address, 16-29 distance of two boxes side
 * by side, 32-45 distance of groups of eight rows, all in units of 16 bytes; bits 62-63: chunks are
 * permuted over 128 bytes. Where the rows are those of a product's result (multiply_rows), 16
 * elements of them lie in one box, and the distance of boxes is not used. */
__device__ inline uint64_t describe_operand(uint32_t address, int box_bytes = 0) {
  constexpr uint64_t kGroup = 8 * kBoxRowBytes / 16;
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) |
         static_cast<uint64_t>((box_bytes & 0x3ffff) >> 4) << 16 | kGroup << 32 | 1ull << 62;
}
/* The operand `bytes` further on. */
__device__ inline uint64_t advance_operand(uint64_t operand, int bytes) {
  return operand + static_cast<uint64_t>(bytes >> 4);
}

/* Products are asynchronous: what they read and write in registers belongs to them from
 * begin_products() to the wait. pin() keeps the compiler from moving its uses across either. */
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* Shows what the calling thread has written to shared memory to products that start behind the next
 * barrier. */
__device__ inline void show_to_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/* Waits until at most kPending groups of products are under way. */
template <int kPending>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
template <int kCount>
__device__ inline void pin(float (&values)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i++) asm volatile("" : "+f"(values[i])::"memory");
}
template <int kCount>
__device__ inline void pin(uint32_t (&values)[kCount][4]) {
#pragma unroll
  for (int i = 0; i < kCount; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) asm volatile("" : "+r"(values[i][j])::"memory");
  }
}

#define SX_SUMS8(d, i)                                                                        \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define SX_SUMS32(d) SX_SUMS8(d, 0), SX_SUMS8(d, 8), SX_SUMS8(d, 16), SX_SUMS8(d, 24)
#define SX_SUMS64(d) \
  SX_SUMS32(d), SX_SUMS8(d, 32), SX_SUMS8(d, 40), SX_SUMS8(d, 48), SX_SUMS8(d, 56)
#define SX_SUMS128(d)                                                               \
  SX_SUMS64(d), SX_SUMS8(d, 64), SX_SUMS8(d, 72), SX_SUMS8(d, 80), SX_SUMS8(d, 88), \
      SX_SUMS8(d, 96), SX_SUMS8(d, 104), SX_SUMS8(d, 112), SX_SUMS8(d, 120)
#define SX_NAMES32                                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SX_NAMES64                                                                          \
  SX_NAMES32                                                                                \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, " \
  "%49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define SX_NAMES128                                                                          \
  SX_NAMES64                                                                                 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, "  \
  "%81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, "    \
  "%98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, " \
  "%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

/* sums (+)= a * b^T: a of 64 rows and b of 128, 16 elements of each; b's rows lie in shared memory,
 * and a in registers. */
template <bool kAdd>
__device__ inline void multiply_rows(float (&sums)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" SX_NAMES64
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}"
      : SX_SUMS64(sums)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kAdd ? 1 : 0));
}

/* The same with a's rows in shared memory, too, and b of 256 rows; adds unless `add` is 0. */
__device__ inline void multiply_rows(float (&sums)[128], uint64_t a, uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" SX_NAMES128
      "}, %128, %129, p, 1, 1, 0, 0;\n}"
      : SX_SUMS128(sums)
      : "l"(a), "l"(b), "r"(add));
}

/* sums += a * b: a of 64 rows and 16 columns in registers, b of 16 rows in shared memory that have as
 * many elements as sums has columns: 128, or 64. */
__device__ inline void multiply_columns(float (&sums)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" SX_NAMES64
               "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
               : SX_SUMS64(sums)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ inline void multiply_columns(float (&sums)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" SX_NAMES32
               "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
               : SX_SUMS32(sums)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#undef SX_SUMS8
#undef SX_SUMS32
#undef SX_SUMS64
#undef SX_SUMS128
#undef SX_NAMES32
#undef SX_NAMES64
#undef SX_NAMES128

}  // namespace cuda
}  // namespace sx

#endif
