/*
 * How much each tile of keys matters to each query, in powers of two: the first half of decode_select.cu,
 * which says how.
 */
#ifndef SX_CUDA_DECODE_LOGITS_CUH
#define SX_CUDA_DECODE_LOGITS_CUH

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

/* Of codes, what they stand for in units of a tenth of SX_CODE_FAR: -10, -3, 3, 10. */
constexpr uint32_t kLevelBytes = 0x0a03fdf6u;
/* A row's unit as a whole number: factors are below two units, and the upper digit of two is 127. */
constexpr float kUnitDigits = 127 * 128;

/* sum += a * b, of signed bytes: 16 x 32 by 32 x 8, whose places are those of multiply_add() with four
 * bytes where there are two elements. */
__device__ inline void multiply_add_bytes(int (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The power of two at or below a number, and its inverse; 0 and 0 of next to nothing, NaN and 0 of what
 * has no inverse. */
struct Unit {
  float size, inverse;
};
__device__ inline Unit unit_of(float largest) {
  const uint32_t exponent = __float_as_uint(largest) & 0x7f800000u;
  if (exponent == 0) return {0, 0};
  if (exponent >= 0x7f000000u) return {NAN, 0};
  return {__uint_as_float(exponent), __uint_as_float(0x7f000000u - exponent)};
}

/* What a lane holds of rows of queries for the product with a tile's levels: of row lane / 8 the numbers
 * at `lane % 4 * kDim / 4` and behind, as whole numbers of 16 bits: in the lanes of an even lane / 4
 * their upper digits of 8 bits, in the others the lower ones, both with a sign. `base` and `unit` are
 * those of row lane % 4: a logit is base + unit * (256 * upper sum + lower sum). */
template <int kDim>
struct Factors {
  /* Of each word of codes the even numbers, then the odd ones; eight of them fill two registers. */
  uint32_t digits[kDim / 64][2][2];
  float base, unit;
  __device__ Factors(const bf16* q, const bf16* mean, const bf16* spread, float scale_log2,
                     bool is_row, bool aligned) {
    constexpr int kOwn = kDim / 4;
    const int lane = threadIdx.x % 32, from = lane % 4 * kOwn;
    const uint4 none = make_uint4(0, 0, 0, 0);
    float factors[kOwn], sum = 0, largest = 0, check = 0;
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
        check = fmaf(factor, 0.0f, check); /* NaN if one is not finite */
        factors[8 * i + n] = factor;
      }
    }
    sum = quad_sum(sum + check);
    const Unit own = unit_of(quad_max(largest));
    /* The sum of 1.5 * 2^23 and a small number ends with its whole part in two's complement. */
    const float step = own.inverse * kUnitDigits;
    const uint32_t half = lane / 4 % 2 == 0 ? 128 : 0, byte = lane / 4 % 2 == 0 ? 0x51 : 0x40;
#pragma unroll
    for (int i = 0; i < kDim / 16; i++) {
      uint32_t bits[4];
#pragma unroll
      for (int n = 0; n < 4; n++) {
        const int d = i / 4 * 16 + i % 2 * 8 + i / 2 % 2 + 2 * n;
        bits[n] = __float_as_uint(fmaf(factors[d], step, 12582912.0f)) + half;
      }
      const uint32_t low = __byte_perm(bits[0], bits[1], byte);
      const uint32_t high = __byte_perm(bits[2], bits[3], byte);
      digits[i / 4][i / 2 % 2][i % 2] = __byte_perm(low, high, 0x5410);
    }
    base = __shfl_sync(~0u, sum, lane % 4 * 8);
    unit = __shfl_sync(~0u, own.size, lane % 4 * 8) * (SX_CODE_FAR / 10 / kUnitDigits);
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
#pragma unroll
  for (int i = 0; i < kCount; i += 2) {
    int sum[4] = {0, 0, 0, 0};
    uint32_t first[kDim / 64], second[kDim / 64];
    codes.read(first, i);
    codes.read(second, i + 1);
#pragma unroll
    for (int word = 0; word < kDim / 64; word++) {
      /* Codes of even numbers are at bits 0, 4..., where a permutation looks; odd ones two bits above. */
#pragma unroll
      for (int odd = 0; odd < 2; odd++) {
        const uint32_t upper = first[word] >> (2 * odd) & 0x33333333u;
        const uint32_t lower = second[word] >> (2 * odd) & 0x33333333u;
        const uint32_t levels[4] = {
            __byte_perm(kLevelBytes, 0, upper), __byte_perm(kLevelBytes, 0, lower),
            __byte_perm(kLevelBytes, 0, upper >> 16), __byte_perm(kLevelBytes, 0, lower >> 16)};
        multiply_add_bytes(sum, levels, factors.digits[word][odd][0], factors.digits[word][odd][1]);
      }
    }
    logits[i] = fmaf(factors.unit, static_cast<float>(256 * sum[0] + sum[1]), factors.base);
    logits[i + 1] = fmaf(factors.unit, static_cast<float>(256 * sum[2] + sum[3]), factors.base);
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
