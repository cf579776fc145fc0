/*
 * RMSNorm with the residual added first (see sx_rms_norm in ../sx_kernels.h; arXiv 1910.07467).
 *
 * residual[r,:] += delta[r,:]; out[r,:] = residual[r,:] / sqrt(mean(residual[r,:]^2) + eps) * weight.
 * One block a row. Rows of up to 8,192 elements stay in registers between their two uses, so that a
 * row moves 4 + out bytes an element, and 8 more with delta; longer or unaligned rows are read again,
 * from a cache as a rule. Sums in f32: a thread's own, a warp's, then the warps' in order.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
/* Groups of four elements that a thread keeps. */
constexpr int kMaxGroups = 8;

struct Row {
  float* residual;
  const float* delta; /* nullable */
  int64_t rows, dim;
  float eps;
};

__device__ inline float inverse_root(float sum, const Row& row) {
  return rsqrtf(sum / static_cast<float>(row.dim) + row.eps);
}

__device__ inline float4 load_weight(const float* weight) {
  return *reinterpret_cast<const float4*>(weight);
}
__device__ inline float4 load_weight(const bf16* weight) {
  const uint2 packed = *reinterpret_cast<const uint2*>(weight);
  return make_float4(low_half(packed.x), high_half(packed.x), low_half(packed.y),
                     high_half(packed.y));
}
__device__ inline void store4(float* out, float4 value) { *reinterpret_cast<float4*>(out) = value; }
__device__ inline void store4(bf16* out, float4 value) {
  *reinterpret_cast<uint2*>(out) =
      make_uint2(pack_bf16(value.x, value.y), pack_bf16(value.z, value.w));
}

/* dim is at most kGroups * 4 * kThreads and a multiple of 8, all rows are 16-byte aligned. */
template <int kGroups, class Out, class Weight>
__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(Out* out, const Weight* weight, Row row) {
  __shared__ float parts[kThreads / 32];
  let_next_begin();
  float4 weights[kGroups];
#pragma unroll
  for (int g = 0; g < kGroups; g++) {
    const int64_t d = (static_cast<int64_t>(g) * kThreads + threadIdx.x) * 4;
    if (d < row.dim) weights[g] = load_weight(weight + d);
  }
  wait_for_previous();
  for (int64_t r = blockIdx.x; r < row.rows; r += gridDim.x) {
    float* residual = row.residual + r * row.dim;
    float4 x[kGroups];
    float sum = 0;
#pragma unroll
    for (int g = 0; g < kGroups; g++) {
      const int64_t d = (static_cast<int64_t>(g) * kThreads + threadIdx.x) * 4;
      x[g] = make_float4(0, 0, 0, 0);
      if (d >= row.dim) continue;
      x[g] = *reinterpret_cast<const float4*>(residual + d);
      if (row.delta != nullptr) {
        const float4 y = *reinterpret_cast<const float4*>(row.delta + r * row.dim + d);
        x[g].x += y.x, x[g].y += y.y, x[g].z += y.z, x[g].w += y.w;
        *reinterpret_cast<float4*>(residual + d) = x[g];
      }
      sum += x[g].x * x[g].x + x[g].y * x[g].y + x[g].z * x[g].z + x[g].w * x[g].w;
    }
    const float factor = inverse_root(block_sum<kThreads>(sum, parts), row);
#pragma unroll
    for (int g = 0; g < kGroups; g++) {
      const int64_t d = (static_cast<int64_t>(g) * kThreads + threadIdx.x) * 4;
      if (d >= row.dim) continue;
      const float4 w = weights[g];
      store4(out + r * row.dim + d, make_float4(x[g].x * factor * w.x, x[g].y * factor * w.y,
                                                x[g].z * factor * w.z, x[g].w * factor * w.w));
    }
  }
}

/* Any length and alignment. */
template <class Out, class Weight>
__global__ void __launch_bounds__(kThreads)
    rms_norm_any_kernel(Out* out, const Weight* weight, Row row) {
  __shared__ float parts[kThreads / 32];
  let_next_begin();
  wait_for_previous();
  for (int64_t r = blockIdx.x; r < row.rows; r += gridDim.x) {
    float* residual = row.residual + r * row.dim;
    float sum = 0;
    for (int64_t d = threadIdx.x; d < row.dim; d += kThreads) {
      if (row.delta != nullptr) residual[d] += row.delta[r * row.dim + d];
      sum += residual[d] * residual[d];
    }
    const float factor = inverse_root(block_sum<kThreads>(sum, parts), row);
    for (int64_t d = threadIdx.x; d < row.dim; d += kThreads) {
      put(out + r * row.dim + d, residual[d] * factor * widen(weight[d]));
    }
  }
}

template <class Out, class Weight>
sx_status launch(Context& context, const sx_rms_norm_params& args) {
  Out* out = static_cast<Out*>(args.out);
  const Weight* weight = static_cast<const Weight*>(args.weight);
  const Row row = {args.residual, args.delta, args.rows, args.dim, args.eps};
  const bool aligned = is_aligned(out) && is_aligned(weight) && is_aligned(args.residual) &&
                       is_aligned(args.delta) && args.dim % 8 == 0;
  const int64_t groups = aligned ? ceil_div(args.dim, kThreads * 4) : kMaxGroups + 1;
  auto kernel = groups <= 1            ? rms_norm_kernel<1, Out, Weight>
                : groups <= 2          ? rms_norm_kernel<2, Out, Weight>
                : groups <= 4          ? rms_norm_kernel<4, Out, Weight>
                : groups <= kMaxGroups ? rms_norm_kernel<kMaxGroups, Out, Weight>
                                       : rms_norm_any_kernel<Out, Weight>;
  return launch_ahead(context, "normalize", kernel, grid_of(args.rows), kThreads, 0, out, weight,
                      row);
}

}  // namespace

sx_status rms_norm(Context& context, const sx_rms_norm_params& args) {
  if (args.rows == 0) return SX_OK;
  const bool narrow = args.weight_dtype == SX_BF16;
  if (args.out_dtype == SX_BF16) {
    return narrow ? launch<bf16, bf16>(context, args) : launch<bf16, float>(context, args);
  }
  return narrow ? launch<float, bf16>(context, args) : launch<float, float>(context, args);
}

}  // namespace cuda
}  // namespace sx
