/*
 * Conversion between F32, BF16 and F16 (see sx_convert in ../sx_kernels.h).
 *
 * out[i] = in[i] rounded to nearest even; a NaN stays a quiet NaN. Moves count * (in + out) bytes.
 * Grid: 256 threads, four elements a thread, walking on in steps of the grid.
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 16;

__device__ float to_float(float value) { return value; }
__device__ float to_float(bf16 value) { return __bfloat162float(value); }
__device__ float to_float(__half value) { return __half2float(value); }

/* The device's own conversions would replace every NaN by one with all bits set. */
__device__ void from_float(float* out, float value) { *out = value; }
__device__ void from_float(bf16* out, float value) {
  const uint32_t bits = __float_as_uint(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = is_nan ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  *out = __ushort_as_bfloat16(static_cast<unsigned short>(rounded));
}
__device__ void from_float(__half* out, float value) {
  const uint32_t sign = __float_as_uint(value) >> 16 & 0x8000u;
  *out = isnan(value) ? __ushort_as_half(static_cast<unsigned short>(sign | 0x7e00u))
                      : __float2half_rn(value);
}

template <class Out, class In>
__global__ void __launch_bounds__(kThreads) convert_kernel(Out* out, const In* in, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    from_float(out + i, to_float(in[i]));
  }
}

template <class Out, class In>
void launch(Context& context, const sx_convert_params& args) {
  const int64_t blocks = min64(ceil_div(args.count, kThreads), kMaxBlocks);
  convert_kernel<<<grid_of(blocks), kThreads, 0, context.stream>>>(
      static_cast<Out*>(args.out), static_cast<const In*>(args.in), args.count);
}

template <class In>
void launch_from(Context& context, const sx_convert_params& args) {
  if (args.out_dtype == SX_F32) return launch<float, In>(context, args);
  if (args.out_dtype == SX_BF16) return launch<bf16, In>(context, args);
  launch<__half, In>(context, args);
}

}  // namespace

sx_status convert(Context& context, const sx_convert_params& args) {
  if (args.count == 0) return SX_OK;
  if (args.in_dtype == SX_F32) {
    launch_from<float>(context, args);
  } else if (args.in_dtype == SX_BF16) {
    launch_from<bf16>(context, args);
  } else {
    launch_from<__half>(context, args);
  }
  return launched(context, "convert");
}

}  // namespace cuda
}  // namespace sx
