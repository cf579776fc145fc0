/*
 * Keys and values rounded to 8 bits on their way into a cache (see sx_kv_store in ../sx_attention.h):
 * scale = c / top, code = x * (top / c) to nearest even, c being the largest size in the row.
 *
 * A warp a row of a head of keys or values, 2 or 4 neighbouring elements a lane. Sizes are compared as
 * whole numbers, which order as the floats do and put infinities and NaN above all others. Bytes
 * tokens * 2*HK * (D * (sizeof(in) + 1) + 4); 256 threads a block.
 */
#include <cuda_fp8.h>

#include "codes.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

using Params = sx_kv_store_params;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kMaxBlocks = 1 << 16;
/* Rows whose largest size is below this become zeros: top / c stays finite. */
constexpr float kSmallest = 0x1p-100f;
constexpr uint32_t kInfinity = 0x7f800000u, kNotANumber = 0x7fc00000u;

/* The codes of two numbers, the first in the lower byte. */
__device__ inline uint32_t narrow_pair(float first, float second, e4m3) {
  return __nv_cvt_float2_to_fp8x2(make_float2(first, second), __NV_SATFINITE, __NV_E4M3);
}
__device__ inline uint32_t narrow_pair(float first, float second, int8) {
  return (__float2int_rn(first) & 0xff) | (__float2int_rn(second) & 0xff) << 8;
}

/* A lane's neighbours of a row; kAligned: rows allow accesses of all of them at once. */
template <bool kAligned, int kCount>
__device__ inline void load_some(float (&out)[kCount], const float* in) {
  if (!kAligned) {
#pragma unroll
    for (int i = 0; i < kCount; i++) out[i] = in[i];
  } else if (kCount == 4) {
    const float4 all = *reinterpret_cast<const float4*>(in);
    out[0] = all.x, out[1] = all.y, out[2] = all.z, out[3] = all.w;
  } else {
    const float2 all = *reinterpret_cast<const float2*>(in);
    out[0] = all.x, out[1] = all.y;
  }
}
template <bool kAligned, int kCount>
__device__ inline void load_some(float (&out)[kCount], const bf16* in) {
#pragma unroll
  for (int i = 0; i < kCount; i += 2) {
    if (kAligned) {
      const uint32_t pair = reinterpret_cast<const uint32_t*>(in)[i / 2];
      out[i] = low_half(pair);
      out[i + 1] = high_half(pair);
    } else {
      out[i] = widen(in[i]);
      out[i + 1] = widen(in[i + 1]);
    }
  }
}

template <bool kAligned, int kCount>
__device__ inline void store_codes(uint8_t* out, const uint32_t (&pairs)[kCount / 2]) {
  if (!kAligned) {
#pragma unroll
    for (int i = 0; i < kCount; i++) out[i] = static_cast<uint8_t>(pairs[i / 2] >> (i % 2 * 8));
  } else if (kCount == 4) {
    *reinterpret_cast<uint32_t*>(out) = pairs[0] | pairs[kCount / 2 - 1] << 16;
  } else {
    *reinterpret_cast<uint16_t*>(out) = static_cast<uint16_t>(pairs[0]);
  }
}

template <class Code, class In, int kDim, bool kAligned>
__global__ void __launch_bounds__(kThreads) kv_store_kernel(const __grid_constant__ Params args) {
  let_next_begin();
  wait_for_previous();
  constexpr int kCount = kDim / 32;
  const int lane = threadIdx.x % 32;
  const int64_t items = args.tokens * args.kv_heads * 2;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; i < items;
       i += step) {
    const int64_t t = i / (2 * args.kv_heads), head = i / 2 % args.kv_heads;
    const bool is_key = i % 2 == 0;
    const int64_t row = args.rows[t];
    if (row < 0) continue;
    const In* in = static_cast<const In*>(is_key ? args.in_keys : args.in_values) +
                   head * args.in_head_stride + t * args.in_token_stride + lane * kCount;
    uint8_t* out = static_cast<uint8_t*>(is_key ? args.keys : args.values) +
                   head * args.head_stride + row * args.token_stride + lane * kCount;
    float* scale = (is_key ? args.key_scales : args.value_scales) + head * args.scale_head_stride;
    float values[kCount];
    load_some<kAligned>(values, in);
    uint32_t size = 0;
#pragma unroll
    for (int d = 0; d < kCount; d++) size = max(size, __float_as_uint(values[d]) & 0x7fffffffu);
    size = __reduce_max_sync(~0u, size);
    const float c = __uint_as_float(size);
    const bool is_finite = size < kInfinity, is_kept = is_finite && c >= kSmallest;
    if (lane == 0) {
      scale[row] = !is_finite ? __uint_as_float(kNotANumber)
                   : is_kept  ? __fdiv_rn(c, Code::kLargest)
                              : 0.0f;
    }
    const float factor = is_kept ? __fdiv_rn(Code::kLargest, c) : 0.0f;
    uint32_t pairs[kCount / 2];
#pragma unroll
    for (int d = 0; d < kCount; d += 2) {
      pairs[d / 2] = is_kept ? narrow_pair(__fmul_rn(values[d], factor),
                                           __fmul_rn(values[d + 1], factor), Code{})
                             : 0;
    }
    store_codes<kAligned, kCount>(out, pairs);
  }
}

template <class Code, class In>
sx_status launch(Context& context, const Params& args) {
  const int64_t in_strides = args.in_token_stride | args.in_head_stride;
  const bool aligned = is_aligned(args.in_keys) && is_aligned(args.in_values) &&
                       is_aligned(args.keys) && is_aligned(args.values) &&
                       in_strides * static_cast<int64_t>(sizeof(In)) % 16 == 0 &&
                       (args.token_stride | args.head_stride) % 4 == 0;
  auto wide =
      aligned ? kv_store_kernel<Code, In, 128, true> : kv_store_kernel<Code, In, 128, false>;
  auto narrow =
      aligned ? kv_store_kernel<Code, In, 64, true> : kv_store_kernel<Code, In, 64, false>;
  const int64_t items = args.tokens * args.kv_heads * 2;
  const unsigned grid = grid_of(min64(ceil_div(items, kWarps), kMaxBlocks));
  return launch_ahead(context, "store keys and values", args.head_dim == 128 ? wide : narrow, grid,
                      kThreads, 0, args);
}

template <class Code>
sx_status launch_from(Context& context, const Params& args) {
  return args.in_dtype == SX_BF16 ? launch<Code, bf16>(context, args)
                                  : launch<Code, float>(context, args);
}

}  // namespace

sx_status kv_store(Context& context, const Params& args) {
  if (args.tokens == 0) return SX_OK;
  return args.kv_dtype == SX_I8 ? launch_from<int8>(context, args)
                                : launch_from<e4m3>(context, args);
}

}  // namespace cuda
}  // namespace sx
