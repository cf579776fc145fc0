/*
 * Rows rounded to 8 bits (see sx_quantize in ../sx_kernels.h).
 *
 * A block makes a panel, a warp each of its rows: it finds the largest magnitude, reads the row again,
 * from a cache as a rule, and writes four bytes a lane. Moves n * k * (sizeof(in) + 1) bytes.
 */

#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kRows = SX_PANEL_ROWS;
constexpr int kThreads = 32 * kRows;
constexpr float kSmallest = 0x1p-100f;

__device__ inline float value_of(float x) { return x; }
__device__ inline float value_of(bf16 x) { return __bfloat162float(x); }
__device__ inline float value_of(__half x) { return __half2float(x); }

/* The largest magnitude of a row, as bits: those of what is not finite are above all others. */
template <class In>
__device__ unsigned largest_bits(const In* row, int64_t k) {
  unsigned largest = 0;
  for (int64_t l = threadIdx.x % 32; l < k; l += 32) {
    largest = max(largest, __float_as_uint(value_of(row[l])) & 0x7fffffffu);
  }
  return __reduce_max_sync(0xffffffffu, largest);
}

template <class In>
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(const __grid_constant__ sx_quantize_params args) {
  const int64_t depth = round_up(args.k, SX_PANEL_DEPTH);
  const int row = threadIdx.x / 32;
  for (int64_t panel = blockIdx.x; panel < ceil_div(args.n, kRows); panel += gridDim.x) {
    const int64_t j = panel * kRows + row;
    const In* in = static_cast<const In*>(args.in) + j * args.k;
    const bool is_there = j < args.n;
    const unsigned bits = is_there ? largest_bits(in, args.k) : 0;
    const float largest = __uint_as_float(bits);
    const bool is_finite = bits < 0x7f800000u;
    const bool has_numbers = is_finite && largest >= kSmallest;
    const float inverse = has_numbers ? __fdiv_rn(127.0f, largest) : 0.0f;
    if (is_there && threadIdx.x % 32 == 0) {
      /* The NaN of the CPU library, bit for bit. */
      args.scales[j] = !is_finite    ? __int_as_float(0x7fc00000)
                       : has_numbers ? __fdiv_rn(largest, 127.0f)
                                     : 0.0f;
    }
    unsigned* out = static_cast<unsigned*>(args.out) + panel * kRows * depth / 4;
    for (int64_t quad = threadIdx.x % 32; quad < depth / 4; quad += 32) {
      unsigned bytes = 0;
      for (int d = 0; d < 4; d++) {
        const int64_t l = quad * 4 + d;
        const bool is_number = has_numbers && l < args.k;
        const int q = is_number ? __float2int_rn(__fmul_rn(value_of(in[l]), inverse)) : 0;
        bytes |= static_cast<unsigned>(q + 128) << (8 * d);
      }
      out[quad * kRows + row] = bytes;
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    pack_kernel(const __grid_constant__ sx_quantize_params args) {
  const int64_t depth = round_up(args.k, SX_PANEL_DEPTH);
  const int row = threadIdx.x / 32;
  for (int64_t panel = blockIdx.x; panel < ceil_div(args.n, kRows); panel += gridDim.x) {
    const int64_t j = panel * kRows + row;
    const int8_t* in = static_cast<const int8_t*>(args.in) + j * args.k;
    unsigned* out = static_cast<unsigned*>(args.out) + panel * kRows * depth / 4;
    for (int64_t quad = threadIdx.x % 32; quad < depth / 4; quad += 32) {
      unsigned bytes = 0;
      for (int d = 0; d < 4; d++) {
        const int64_t l = quad * 4 + d;
        const int q = j < args.n && l < args.k ? in[l] : 0;
        bytes |= static_cast<unsigned>(q + 128) << (8 * d);
      }
      out[quad * kRows + row] = bytes;
    }
  }
}

}  // namespace

sx_status quantize(Context& context, const sx_quantize_params& args) {
  if (args.n == 0) return SX_OK;
  const unsigned grid = grid_of(ceil_div(args.n, kRows));
  if (args.in_dtype == SX_I8) {
    pack_kernel<<<grid, kThreads, 0, context.stream>>>(args);
  } else if (args.in_dtype == SX_F32) {
    quantize_kernel<float><<<grid, kThreads, 0, context.stream>>>(args);
  } else if (args.in_dtype == SX_BF16) {
    quantize_kernel<bf16><<<grid, kThreads, 0, context.stream>>>(args);
  } else {
    quantize_kernel<__half><<<grid, kThreads, 0, context.stream>>>(args);
  }
  return launched(context, "quantize");
}

}  // namespace cuda
}  // namespace sx
