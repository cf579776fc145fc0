/*
 * How much each tile of keys matters to each query, in powers of two: the first half of decode_select.cu,
 * which says how.
 */
#ifndef SX_CUDA_DECODE_LOGITS_CUH
#define SX_CUDA_DECODE_LOGITS_CUH

#include <cuda_fp16.h>

#include "mma.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

using SelectParams = sx_decode_select_params;

/* A warp a tile. */
constexpr int kLogitThreads = 128, kLogitWarps = kLogitThreads / 32;
/* Rows of queries that meet the codes of a tile while a warp has them. */
constexpr int kLogitRows = 4;
/* Some sequences of a call. */
struct SelectJob {
  SelectParams args;
  float* logits; /* [sequences, kv_heads, rows, index_stride], in powers of two; then the softmax */
  int rows;      /* T * HQ / HK, at least 1 */
  bool aligned;  /* whether rows of q, means, spreads and codes can be read by 16 bytes */
};

/* The pooled tiles of a sequence; -1 where its numbers are out of range. */
__device__ inline int tiles_of(const SelectParams& args, int64_t sequence) {
  const int64_t first = args.first_row == nullptr ? 0 : args.first_row[sequence];
  const int64_t tiles = args.pooled_tiles[sequence];
  const bool valid = first >= 0 && first % SX_TILE == 0 && tiles >= 0 &&
                     tiles <= args.index_stride && first / SX_TILE + tiles <= args.mean_capacity;
  return valid ? static_cast<int>(tiles) : -1;
}

/* Eight codes at bits 0, 4, 8... of a word, as f16 of the levels -5, -1.5, 1.5 and 5, in the order of
 * the codes' numbers 0, 1 in the first register and so on. */
__device__ inline void levels_of(uint32_t (&out)[4], uint32_t codes) {
  constexpr uint32_t kHighBytes = 0x453ebec5u; /* the low bytes of these f16 are zeros */
  const uint32_t low = __byte_perm(kHighBytes, 0, codes);
  const uint32_t high = __byte_perm(kHighBytes, 0, codes >> 16);
  out[0] = __byte_perm(low, 0, 0x1404), out[1] = __byte_perm(low, 0, 0x3424);
  out[2] = __byte_perm(high, 0, 0x1404), out[3] = __byte_perm(high, 0, 0x3424);
}

/* sum += a * b, of f16. */
__device__ inline void multiply_add_f16(float (&sum)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                        uint32_t a3, uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/* Two f32 as f16 in one register, the first in the lower half. */
__device__ inline uint32_t pack_f16(float low, float high) {
  const __half2 packed = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&packed);
}
__device__ inline void unpack_f16(float& low, float& high, uint32_t packed) {
  const float2 both = __half22float2(*reinterpret_cast<const __half2*>(&packed));
  low = both.x, high = both.y;
}

/* What a row's factors are multiples of: the power of two at or below the largest of them, and its
 * inverse. 0 and 0 if all are next to nothing, 1 and 1 if one of them is past what has an inverse. */
struct Unit {
  float size, inverse;
};
__device__ inline Unit unit_of(float largest) {
  const uint32_t exponent = __float_as_uint(largest) & 0x7f800000u;
  if (exponent == 0) return {0, 0};
  if (exponent >= 0x7f000000u) return {1, 1};
  return {__uint_as_float(exponent), __uint_as_float(0x7f000000u - exponent)};
}

/* The order in which a lane has its codes as levels: of each word of 16 first those of even numbers, two
 * next to each other in a register. The number of the first of register i. */
__device__ constexpr int number_of(int i) { return i / 8 * 16 + i % 4 * 4 + i / 4 % 2; }

/* What a lane holds of rows of queries for the product with a tile's levels: of row lane / 8 the numbers
 * at `lane % 4 * kDim / 4` and behind, in units of the row, in the lanes of an even lane / 4 rounded to
 * f16 and in the others what rounding left. `base` and `unit` are those of row lane % 4. */
template <int kDim>
struct Factors {
  uint32_t halves[kDim / 8]; /* of the numbers number_of(i) and the next but one */
  float base, unit;
  __device__ Factors(const bf16* q, const bf16* mean, const bf16* spread, float scale_log2,
                     bool is_row, bool aligned) {
    constexpr int kOwn = kDim / 4;
    const int lane = threadIdx.x % 32, from = lane % 4 * kOwn;
    const uint4 none = make_uint4(0, 0, 0, 0);
    float factors[kOwn], sum = 0, largest = 0;
#pragma unroll
    for (int i = 0; i < kOwn / 8; i++) {
      const uint4 queries = is_row ? load_raw8(q + from + 8 * i, aligned) : none;
      const uint4 means = is_row ? load_raw8(mean + from + 8 * i, aligned) : none;
      const uint4 spreads = is_row ? load_raw8(spread + from + 8 * i, aligned) : none;
      const uint32_t a[4] = {queries.x, queries.y, queries.z, queries.w};
      const uint32_t b[4] = {means.x, means.y, means.z, means.w};
      const uint32_t c[4] = {spreads.x, spreads.y, spreads.z, spreads.w};
#pragma unroll
      for (int n = 0; n < 8; n++) {
        const bool is_low = n % 2 == 0;
        const float query = (is_low ? low_half(a[n / 2]) : high_half(a[n / 2])) * scale_log2;
        sum = fmaf(query, is_low ? low_half(b[n / 2]) : high_half(b[n / 2]), sum);
        const float factor = query * (is_low ? low_half(c[n / 2]) : high_half(c[n / 2]));
        largest = fmaxf(largest, fabsf(factor));
        factors[8 * i + n] = factor;
      }
    }
    sum = quad_sum(sum);
    const Unit own = unit_of(quad_max(largest));
    const bool is_rest = lane / 4 % 2 == 1;
#pragma unroll
    for (int i = 0; i < kDim / 8; i++) {
      const int d = number_of(i);
      const float first = factors[d] * own.inverse, second = factors[d + 2] * own.inverse;
      const uint32_t rounded = pack_f16(first, second);
      float low, high;
      unpack_f16(low, high, rounded);
      halves[i] = is_rest ? pack_f16(first - low, second - high) : rounded;
    }
    base = __shfl_sync(~0u, sum, lane % 4 * 8);
    unit = __shfl_sync(~0u, own.size, lane % 4 * 8);
  }
};

/* The codes of a tile in shared memory: the warp's copies, which it waits for before it reads them. */
template <int kDim>
struct Codes {
  static constexpr int kKeyBytes = kDim / 4, kBytes = SX_TILE * kKeyBytes, kWords = kDim / 64;
  uint8_t* bytes;
  __device__ Codes(uint8_t* bytes, const int32_t* codes, bool aligned) : bytes(bytes) {
    const int lane = threadIdx.x % 32;
    if (aligned) {
#pragma unroll
      for (int i = 0; i < kBytes / 16; i += 32) {
        copy_async16(shared_address(bytes) + (i + lane) * 16, codes + (i + lane) * 4, true);
      }
      commit_copies();
    } else {
      for (int i = lane; i < kBytes / 4; i += 32) reinterpret_cast<int32_t*>(bytes)[i] = codes[i];
    }
  }
  __device__ void wait() const {
    wait_copies<0>();
    __syncwarp();
  }
  /* The words that a lane has of the key lane / 4 + 8 * i. */
  __device__ void read(uint32_t (&out)[kWords], int i) const {
    const int lane = threadIdx.x % 32;
    const uint32_t* words =
        reinterpret_cast<const uint32_t*>(bytes + (lane / 4 + 8 * i) * kKeyBytes) +
        lane % 4 * kWords;
#pragma unroll
    for (int word = 0; word < kWords; word++) out[word] = words[word];
  }
};

/* The logit, in powers of two, of a tile for row lane % 4, the same in all lanes of that row. */
template <int kDim>
__device__ inline float tile_logit(const Codes<kDim>& codes, const Factors<kDim>& factors) {
  constexpr int kCount = SX_TILE / 8;
  float logits[kCount];
  const float unit = factors.unit * (SX_CODE_FAR / 5);
#pragma unroll
  for (int i = 0; i < kCount; i += 2) {
    float sum[4] = {0, 0, 0, 0};
    uint32_t first[kDim / 64], second[kDim / 64];
    codes.read(first, i);
    codes.read(second, i + 1);
#pragma unroll
    for (int word = 0; word < kDim / 64; word++) {
      /* Codes of even numbers are at bits 0, 4..., those of odd ones two bits above. */
#pragma unroll
      for (int odd = 0; odd < 2; odd++) {
        uint32_t upper[4], lower[4];
        levels_of(upper, first[word] >> (2 * odd) & 0x33333333u);
        levels_of(lower, second[word] >> (2 * odd) & 0x33333333u);
#pragma unroll
        for (int n = 0; n < 2; n++) {
          const int at = 8 * word + 4 * odd + 2 * n;
          multiply_add_f16(sum, upper[2 * n], lower[2 * n], upper[2 * n + 1], lower[2 * n + 1],
                           factors.halves[at], factors.halves[at + 1]);
        }
      }
    }
    logits[i] = fmaf(unit, sum[0] + sum[1], factors.base);
    logits[i + 1] = fmaf(unit, sum[2] + sum[3], factors.base);
  }
  float top = -INFINITY, total = 0;
  bool is_bad = false;
#pragma unroll
  for (int i = 0; i < kCount; i++) {
    is_bad = is_bad || !(logits[i] < INFINITY);
    top = fmaxf(top, logits[i]);
  }
#pragma unroll
  for (int step = 4; step < 32; step *= 2) {
    top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  }
  const float shift = top > -INFINITY ? top : 0;
#pragma unroll
  for (int i = 0; i < kCount; i++) total += fast_exp2(logits[i] - shift);
  /* A sum with NaN or infinity in it is none. */
  if (is_bad) total = NAN;
#pragma unroll
  for (int step = 4; step < 32; step *= 2) total += __shfl_xor_sync(~0u, total, step);
  return total == 0 ? -INFINITY : shift + log2f(total);
}

template <int kDim>
__global__ void __launch_bounds__(kLogitThreads)
    logits_kernel(const __grid_constant__ SelectJob job, unsigned stride) {
  __shared__ __align__(16) uint8_t bytes[kLogitWarps][Codes<kDim>::kBytes];
  const SelectParams& args = job.args;
  const int group = static_cast<int>(args.q_heads / args.kv_heads), lane = threadIdx.x % 32;
  const int64_t head = blockIdx.x / stride, sequence = head / args.kv_heads;
  const int64_t kv_head = head % args.kv_heads;
  const int tile = static_cast<int>(blockIdx.x % stride) * kLogitWarps + threadIdx.x / 32;
  if (tile >= tiles_of(args, sequence)) return;
  const int64_t first = args.first_row == nullptr ? 0 : args.first_row[sequence] / SX_TILE;
  const Codes<kDim> codes(
      bytes[threadIdx.x / 32],
      args.codes + kv_head * args.code_head_stride + (first + tile) * SX_TILE * (kDim / 16),
      job.aligned);
  const int64_t at = kv_head * args.mean_head_stride + (first + tile) * kDim;
  const bf16* mean = static_cast<const bf16*>(args.mean_keys) + at;
  const bf16* spread = static_cast<const bf16*>(args.spread) + at;
  const float scale_log2 = args.scale * 1.44269504088896341f;
  const bf16* q = static_cast<const bf16*>(args.q) +
                  (sequence * args.q_tokens * args.q_heads + kv_head * group) * kDim;
  float* out = job.logits + head * job.rows * args.index_stride + tile;
  const int rows = static_cast<int>(args.q_tokens) * group;
  for (int begin = 0; begin < rows; begin += kLogitRows) {
    const int row = begin + lane / 8;
    const int64_t query = static_cast<int64_t>(row / group) * args.q_heads + row % group;
    const Factors<kDim> factors(q + query * kDim, mean, spread, scale_log2, row < rows,
                                job.aligned);
    codes.wait();
    const float logit = tile_logit(codes, factors);
    if (lane < kLogitRows && begin + lane < rows) {
      out[static_cast<int64_t>(begin + lane) * args.index_stride] = logit;
    }
  }
}

}  // namespace cuda
}  // namespace sx

#endif
