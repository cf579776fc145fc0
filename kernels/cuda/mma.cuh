/*
 * The tensor cores of Ampere and later, a warp at a time: asynchronous copies into shared memory,
 * matrix loads from it, and the product of 16 x 16 by 16 x 8 elements.
 *
 * A lane holds of the accumulator the columns 2*(lane%4) and the next, of the rows lane/4 and
 * lane/4 + 8, in this order; of A the same rows and the columns 2*(lane%4).. and 2*(lane%4) + 8..;
 * of B the column lane/4 and the rows 2*(lane%4).. and 2*(lane%4) + 8...
 */
#ifndef SX_CUDA_MMA_CUH
#define SX_CUDA_MMA_CUH

#include "element.cuh"

namespace sx {
namespace cuda {

__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/* Address of the chunk of eight elements at column 8 * chunk of a row of kDim; chunks are permuted by
 * the row's number, so that eight rows of a matrix load meet no bank twice. */
template <int kDim>
__device__ inline uint32_t chunk_address(uint32_t base, int row, int chunk) {
  return base + row * (kDim * 2) + ((chunk ^ (row & 7)) << 4);
}

/* Copies 16 bytes to shared memory, zeros if `valid` is false. */
__device__ inline void copy_async16(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
/* As copy_async16(), of what is read once: it leaves L2 first, and the rest of its line of 128 bytes,
 * or of 256 bytes, comes to L2 with it. kBytes: 128 or 256. */
template <int kBytes>
__device__ inline void copy_stream16(uint32_t to, const void* from, bool valid, uint64_t policy) {
  static_assert(kBytes == 128 || kBytes == 256, "what the instruction has");
  if (kBytes == 128) {
    asm volatile(
        "cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(to),
        "l"(from), "r"(valid ? 16 : 0), "l"(policy)
        : "memory");
  } else {
    asm volatile(
        "cp.async.cg.shared.global.L2::cache_hint.L2::256B [%0], [%1], 16, %2, %3;" ::"r"(to),
        "l"(from), "r"(valid ? 16 : 0), "l"(policy)
        : "memory");
  }
}
/* As copy_async16(), of 4 bytes. */
__device__ inline void copy_async4(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 4 : 0)
               : "memory");
}
/* The policy of what is read once. */
__device__ inline uint64_t evict_first() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most kPending groups of this thread's copies are under way. */
template <int kPending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/* A number or an address that the compiler keeps as it is, and does not compute anew, by some
 * multiplications, for each of the copies that start from it. */
template <class T>
__device__ inline T kept(T value) {
  static_assert(sizeof(T) == 8, "it fills a pair of registers");
  asm volatile("" : "+l"(value));
  return value;
}

/* Eight elements of a row to shared memory, zeros if `valid` is false; the caller's `aligned` says
 * whether asynchronous copies can read them. */
__device__ inline void copy_row8(uint32_t to, const bf16* from, bool valid, bool aligned) {
  if (aligned) {
    copy_async16(to, from, valid);
    return;
  }
  const uint4 words = valid ? load_raw8(from, false) : make_uint4(0, 0, 0, 0);
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(words.x), "r"(words.y),
               "r"(words.z), "r"(words.w)
               : "memory");
}

/* 16 bytes of shared memory, and single words. */
__device__ inline void load_words(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
__device__ inline void store_words(uint32_t address, const uint32_t (&in)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(in[0]), "r"(in[1]),
               "r"(in[2]), "r"(in[3])
               : "memory");
}
__device__ inline uint32_t load_word(uint32_t address) {
  uint32_t word;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(address) : "memory");
  return word;
}
__device__ inline void store_word(uint32_t address, uint32_t word) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(word) : "memory");
}
__device__ inline void set_bits(uint32_t address, uint32_t bits) {
  asm volatile("red.shared.or.b32 [%0], %1;" ::"r"(address), "r"(bits) : "memory");
}

__device__ inline void load_matrices(uint32_t (&out)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row)
               : "memory");
}
__device__ inline void load_matrices_transposed(uint32_t (&out)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row)
               : "memory");
}

/* sum += a * b. */
__device__ inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The largest value and the sum of a row, over the four lanes that hold its columns. */
__device__ inline float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
  return fmaxf(value, __shfl_xor_sync(~0u, value, 2));
}
__device__ inline float quad_sum(float value) {
  value += __shfl_xor_sync(~0u, value, 1);
  return value + __shfl_xor_sync(~0u, value, 2);
}

}  // namespace cuda
}  // namespace sx

#endif
