/*
 * Rows rounded to e4m3, each with a scale of its own (see sx_quantize_rows in ../sx_kernels.h):
 * scales[r] = c / 448, out[r,l] = in[r,l] * (448 / c), c being the largest size in the row.
 *
 * One block a row, 16 elements a thread at a time. Rows of up to 16,384 elements stay in registers
 * between their two uses, so that a row moves sizeof(in) + 1 bytes an element; longer or unaligned rows are
 * read again. Sizes are compared as whole numbers, which order as the floats do and put infinities
 * and NaN above all others: no order of the comparisons changes the result.
 */
#include <cuda_fp8.h>

#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kGroup = 16;
/* Groups that a thread keeps. */
constexpr int kMaxGroups = 4;
constexpr float kLargest = 448.0f;
/* Rows whose largest size is below this become zeros: 448 / c stays finite. */
constexpr float kSmallest = 0x1p-100f;
constexpr uint32_t kInfinity = 0x7f800000u;

struct Rows {
  uint8_t* out;
  float* scales;
  int64_t rows, dim, in_stride;
};

__device__ inline float widened(float value) { return value; }
__device__ inline float widened(bf16 value) { return __bfloat162float(value); }
__device__ inline float widened(__half value) { return __half2float(value); }
__device__ inline uint32_t size_of(float value) { return __float_as_uint(value) & 0x7fffffffu; }

/* A group's elements as they lie in memory. */
template <class In>
struct Group {
  uint4 words[sizeof(In)];

  __device__ void load(const In* from) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(In)); i++) {
      words[i] = reinterpret_cast<const uint4*>(from)[i];
    }
  }
  __device__ float at(int i) const { return widened(reinterpret_cast<const In*>(words)[i]); }
};

/* The largest over a block, in all of its threads. */
__device__ inline uint32_t block_max(uint32_t value, uint32_t* parts) {
  const uint32_t most = __reduce_max_sync(~0u, value);
  __syncthreads(); /* parts may still be read from the row before */
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = most;
  __syncthreads();
  uint32_t all = parts[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / 32; warp++) all = max(all, parts[warp]);
  return all;
}

/* Writes the row's scale; returns what its elements are multiplied by, 0 for zeros. */
__device__ inline float scale_row(uint32_t most, float* scale) {
  const float c = __uint_as_float(most);
  const bool is_finite = most < kInfinity, is_kept = is_finite && c >= kSmallest;
  if (threadIdx.x == 0) {
    *scale = !is_finite ? __uint_as_float(0x7fc00000u) : is_kept ? __fdiv_rn(c, kLargest) : 0.0f;
  }
  return is_kept ? __fdiv_rn(kLargest, c) : 0.0f;
}

__device__ inline uint32_t narrow2(float first, float second) {
  return __nv_cvt_float2_to_fp8x2(make_float2(first, second), __NV_SATFINITE, __NV_E4M3);
}

/* dim is a multiple of 16 and at most kGroups * 16 * kThreads, all rows are 16-byte aligned. */
template <int kGroups, class In>
__global__ void __launch_bounds__(kThreads)
    quantize_rows_kernel(const In* in, const __grid_constant__ Rows rows) {
  __shared__ uint32_t parts[kThreads / 32];
  for (int64_t r = blockIdx.x; r < rows.rows; r += gridDim.x) {
    Group<In> groups[kGroups];
    uint32_t most = 0;
#pragma unroll
    for (int g = 0; g < kGroups; g++) {
      const int64_t l = (static_cast<int64_t>(g) * kThreads + threadIdx.x) * kGroup;
      if (l >= rows.dim) continue;
      groups[g].load(in + r * rows.in_stride + l);
#pragma unroll
      for (int i = 0; i < kGroup; i++) most = max(most, size_of(groups[g].at(i)));
    }
    const float factor = scale_row(block_max(most, parts), rows.scales + r);
#pragma unroll
    for (int g = 0; g < kGroups; g++) {
      const int64_t l = (static_cast<int64_t>(g) * kThreads + threadIdx.x) * kGroup;
      if (l >= rows.dim) continue;
      uint32_t words[4] = {0, 0, 0, 0};
      if (factor != 0) {
#pragma unroll
        for (int i = 0; i < kGroup; i += 2) {
          const uint32_t pair = narrow2(groups[g].at(i) * factor, groups[g].at(i + 1) * factor);
          words[i / 4] |= pair << (i % 4 * 8);
        }
      }
      *reinterpret_cast<uint4*>(rows.out + r * rows.dim + l) =
          make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

/* Any length and alignment. */
template <class In>
__global__ void __launch_bounds__(kThreads)
    quantize_any_rows_kernel(const In* in, const __grid_constant__ Rows rows) {
  __shared__ uint32_t parts[kThreads / 32];
  for (int64_t r = blockIdx.x; r < rows.rows; r += gridDim.x) {
    const In* row = in + r * rows.in_stride;
    uint32_t most = 0;
    for (int64_t l = threadIdx.x; l < rows.dim; l += kThreads) {
      most = max(most, size_of(widened(row[l])));
    }
    const float factor = scale_row(block_max(most, parts), rows.scales + r);
    for (int64_t l = threadIdx.x; l < rows.dim; l += kThreads) {
      const float value = factor == 0 ? 0.0f : widened(row[l]) * factor;
      rows.out[r * rows.dim + l] = __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
    }
  }
}

template <class In>
void launch(Context& context, const sx_quantize_rows_params& args) {
  const In* in = static_cast<const In*>(args.in);
  const Rows rows = {static_cast<uint8_t*>(args.out), args.scales, args.rows, args.dim,
                     args.in_stride};
  const bool aligned = is_aligned(in) && is_aligned(args.out) && args.dim % kGroup == 0 &&
                       args.in_stride * sizeof(In) % 16 == 0;
  const int64_t groups = aligned ? ceil_div(args.dim, kThreads * kGroup) : kMaxGroups + 1;
  const unsigned grid = grid_of(args.rows);
  cudaStream_t stream = context.stream;
  if (groups <= 1) {
    quantize_rows_kernel<1><<<grid, kThreads, 0, stream>>>(in, rows);
  } else if (groups <= 2) {
    quantize_rows_kernel<2><<<grid, kThreads, 0, stream>>>(in, rows);
  } else if (groups <= kMaxGroups) {
    quantize_rows_kernel<kMaxGroups><<<grid, kThreads, 0, stream>>>(in, rows);
  } else {
    quantize_any_rows_kernel<<<grid, kThreads, 0, stream>>>(in, rows);
  }
}

}  // namespace

sx_status quantize_rows(Context& context, const sx_quantize_rows_params& args) {
  if (args.rows == 0) return SX_OK;
  if (args.in_dtype == SX_F32) {
    launch<float>(context, args);
  } else if (args.in_dtype == SX_BF16) {
    launch<bf16>(context, args);
  } else {
    launch<__half>(context, args);
  }
  return launched(context, "quantize rows");
}

}  // namespace cuda
}  // namespace sx
