/*
 * Elements of the storage formats: single ones, and eight at a time in 16 or 32 bytes. Arithmetic
 * happens in f32; rounding is to nearest even.
 */
#ifndef SX_CUDA_ELEMENT_CUH
#define SX_CUDA_ELEMENT_CUH

#include "common.cuh"

namespace sx {
namespace cuda {

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(bf16 value) { return __bfloat162float(value); }
__device__ inline void put(float* out, float value) { *out = value; }
__device__ inline void put(bf16* out, float value) { *out = __float2bfloat16_rn(value); }

__device__ inline float read_element(const void* in, sx_dtype dtype, int64_t i) {
  return dtype == SX_F32 ? static_cast<const float*>(in)[i]
                         : widen(static_cast<const bf16*>(in)[i]);
}

/* A product's sum to element i: rounded, or as it is, or added to what is there. */
__device__ inline void put_sum(void* out, sx_dtype dtype, int64_t i, float sum, bool accumulate) {
  if (dtype == SX_BF16) {
    put(static_cast<bf16*>(out) + i, sum);
  } else {
    float* to = static_cast<float*>(out) + i;
    *to = accumulate ? *to + sum : sum;
  }
}

/* Two f32 as bf16 in one register, the first in the lower half. */
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

__device__ inline float low_half(uint32_t packed) { return __uint_as_float(packed << 16); }
__device__ inline float high_half(uint32_t packed) { return __uint_as_float(packed & 0xffff0000u); }

/* Eight elements from a 16-byte aligned address. */
__device__ inline void load8(float (&out)[8], const float* in) {
  const float4 a = *reinterpret_cast<const float4*>(in);
  const float4 b = *reinterpret_cast<const float4*>(in + 4);
  out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
  out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
}
__device__ inline void load8(float (&out)[8], const bf16* in) {
  const uint4 packed = *reinterpret_cast<const uint4*>(in);
  const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    out[2 * i] = low_half(words[i]);
    out[2 * i + 1] = high_half(words[i]);
  }
}
__device__ inline void store8(float* out, const float (&in)[8]) {
  *reinterpret_cast<float4*>(out) = make_float4(in[0], in[1], in[2], in[3]);
  *reinterpret_cast<float4*>(out + 4) = make_float4(in[4], in[5], in[6], in[7]);
}
__device__ inline void store8(bf16* out, const float (&in)[8]) {
  *reinterpret_cast<uint4*>(out) = make_uint4(pack_bf16(in[0], in[1]), pack_bf16(in[2], in[3]),
                                              pack_bf16(in[4], in[5]), pack_bf16(in[6], in[7]));
}

/* Eight bf16 as they lie in memory, from any address. */
__device__ inline uint4 load_raw8(const bf16* in, bool aligned) {
  if (aligned) return *reinterpret_cast<const uint4*>(in);
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(in);
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    words[i] = halves[2 * i] | static_cast<uint32_t>(halves[2 * i + 1]) << 16;
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/* Two neighbours of a row of the output. */
__device__ inline void put_pair(void* out, sx_dtype dtype, int64_t at, float first, float second,
                                bool aligned) {
  if (dtype == SX_BF16) {
    bf16* to = static_cast<bf16*>(out) + at;
    if (aligned) {
      *reinterpret_cast<uint32_t*>(to) = pack_bf16(first, second);
    } else {
      put(to, first), put(to + 1, second);
    }
  } else {
    float* to = static_cast<float*>(out) + at;
    if (aligned) {
      *reinterpret_cast<float2*>(to) = make_float2(first, second);
    } else {
      put(to, first), put(to + 1, second);
    }
  }
}

__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(~0u, value, lane);
  return value;
}
__device__ inline double warp_sum(double value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(~0u, value, lane);
  return value;
}
__device__ inline float warp_max(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, lane));
  }
  return value;
}

/* The sum over a block of kThreads threads, the same in all of them and for every run; `parts` has
 * room for one number of each warp. */
template <int kThreads, class T>
__device__ inline T block_sum(T value, T* parts) {
  const T sum = warp_sum(value);
  __syncthreads(); /* parts may still be read from the sum before */
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  T total = parts[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / 32; warp++) total += parts[warp];
  return total;
}

/* 2^x, to about 2 ulp; 0 for -inf. */
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace cuda
}  // namespace sx

#endif
