/*
 * Rows of a cache of 8 bits in floats (see sx_kv_expand in ../sx_attention.h): out = code * scale,
 * rounded to f32 and, where out is bf16, to that.
 *
 * A thread takes 16 neighbouring codes of a row, or one where rows are not aligned. Bytes tokens *
 * 2*HK * (D * (1 + sizeof(out)) + 4); 256 threads a block.
 */
#include "codes.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

using Params = sx_kv_expand_params;

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;
/* Codes of a thread. */
constexpr int kRun = 16;

/* NaN has one form, in both libraries. */
__device__ inline void store_nan8(float* out) {
  const uint4 all = make_uint4(0x7fc00000u, 0x7fc00000u, 0x7fc00000u, 0x7fc00000u);
  reinterpret_cast<uint4*>(out)[0] = all;
  reinterpret_cast<uint4*>(out)[1] = all;
}
__device__ inline void store_nan8(bf16* out) {
  *reinterpret_cast<uint4*>(out) = make_uint4(0x7fc07fc0u, 0x7fc07fc0u, 0x7fc07fc0u, 0x7fc07fc0u);
}
__device__ inline void store_nan(float* out) { *out = __uint_as_float(0x7fc00000u); }
__device__ inline void store_nan(bf16* out) { *out = __ushort_as_bfloat16(0x7fc0); }

template <class Out, class Code>
__device__ inline void expand_run(Out* out, const uint8_t* codes, float scale) {
  const uint4 raw = *reinterpret_cast<const uint4*>(codes);
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < kRun; i += 8) {
    float values[8];
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      const uint32_t pair = widen_pair(words[(i + n) / 4], (i + n) / 2 % 2, Code{});
      values[n] = __fmul_rn(low_half(pair), scale);
      values[n + 1] = __fmul_rn(high_half(pair), scale);
    }
    isnan(scale) ? store_nan8(out + i) : store8(out + i, values);
  }
}

template <class Out, class Code>
__device__ inline void expand_one(Out* out, const uint8_t* codes, float scale) {
  const float value = __fmul_rn(low_half(widen_pair(*codes, 0, Code{})), scale);
  isnan(scale) ? store_nan(out) : put(out, value);
}

template <class Out, class Code, bool kAligned>
__global__ void __launch_bounds__(kThreads) kv_expand_kernel(const __grid_constant__ Params args) {
  constexpr int kCount = kAligned ? kRun : 1;
  const int runs = static_cast<int>(args.head_dim) / kCount;
  const int64_t rows = args.tokens * args.kv_heads;
  const int64_t items = rows * runs * (args.out_values == nullptr ? 1 : 2);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < items;
       i += step) {
    const bool is_key = i < rows * runs;
    const int64_t row = i / runs % rows, head = row / args.tokens, token = row % args.tokens;
    const int64_t d = i % runs * kCount;
    const uint8_t* codes = static_cast<const uint8_t*>(is_key ? args.keys : args.values) +
                           head * args.head_stride + token * args.token_stride + d;
    const float* scales = is_key ? args.key_scales : args.value_scales;
    const float scale = scales[head * args.scale_head_stride + token];
    Out* out = static_cast<Out*>(is_key ? args.out_keys : args.out_values) +
               head * args.out_head_stride + token * args.out_token_stride + d;
    if constexpr (kAligned) {
      expand_run<Out, Code>(out, codes, scale);
    } else {
      expand_one<Out, Code>(out, codes, scale);
    }
  }
}

template <class Out, class Code>
void launch(Context& context, const Params& args) {
  const int64_t out_strides = args.out_token_stride | args.out_head_stride;
  const bool aligned = is_aligned(args.keys) && is_aligned(args.values) &&
                       is_aligned(args.out_keys) && is_aligned(args.out_values) &&
                       out_strides * static_cast<int64_t>(sizeof(Out)) % 16 == 0 &&
                       (args.token_stride | args.head_stride) % 16 == 0;
  const int64_t items = args.tokens * args.kv_heads * args.head_dim / (aligned ? kRun : 1) *
                        (args.out_values == nullptr ? 1 : 2);
  const unsigned grid = grid_of(min64(ceil_div(items, kThreads), kMaxBlocks));
  auto kernel = aligned ? kv_expand_kernel<Out, Code, true> : kv_expand_kernel<Out, Code, false>;
  kernel<<<grid, kThreads, 0, context.stream>>>(args);
}

template <class Code>
void launch_to(Context& context, const Params& args) {
  args.out_dtype == SX_BF16 ? launch<bf16, Code>(context, args)
                            : launch<float, Code>(context, args);
}

}  // namespace

sx_status kv_expand(Context& context, const Params& args) {
  if (args.tokens == 0) return SX_OK;
  args.kv_dtype == SX_I8 ? launch_to<int8>(context, args) : launch_to<e4m3>(context, args);
  return launched(context, "expand keys and values");
}

}  // namespace cuda
}  // namespace sx
