/*
 * RMSNorm of the heads of each row, in place (see sx_head_norm in ../sx_kernels.h).
 *
 * x[r,h,:] = x[r,h,:] / sqrt(mean(x[r,h,:]^2) + eps) * weight. A warp takes a head of up to 256
 * elements, a block of 256 threads a longer one. Moves rows * heads * dim * 8 bytes.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kMaxBlocks = 1 << 20;
/* The longest head that a warp takes. */
constexpr int64_t kWarpDim = 256;

template <class Weight>
__global__ void __launch_bounds__(kThreads)
    head_norm_warp_kernel(const __grid_constant__ sx_head_norm_params args) {
  let_next_begin();
  wait_for_previous();
  const int lane = threadIdx.x % 32;
  const Weight* weight = static_cast<const Weight*>(args.weight);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
       i < args.rows * args.heads; i += step) {
    float* x = args.x + i / args.heads * args.row_stride + i % args.heads * args.dim;
    float sum = 0;
    for (int64_t d = lane; d < args.dim; d += 32) sum += x[d] * x[d];
    const float factor = rsqrtf(warp_sum(sum) / static_cast<float>(args.dim) + args.eps);
    for (int64_t d = lane; d < args.dim; d += 32) x[d] = x[d] * factor * widen(weight[d]);
  }
}

template <class Weight>
__global__ void __launch_bounds__(kThreads)
    head_norm_kernel(const __grid_constant__ sx_head_norm_params args) {
  let_next_begin();
  wait_for_previous();
  __shared__ float parts[kWarps];
  const Weight* weight = static_cast<const Weight*>(args.weight);
  for (int64_t i = blockIdx.x; i < args.rows * args.heads; i += gridDim.x) {
    float* x = args.x + i / args.heads * args.row_stride + i % args.heads * args.dim;
    float sum = 0;
    for (int64_t d = threadIdx.x; d < args.dim; d += kThreads) sum += x[d] * x[d];
    const float all = block_sum<kThreads>(sum, parts);
    const float factor = rsqrtf(all / static_cast<float>(args.dim) + args.eps);
    for (int64_t d = threadIdx.x; d < args.dim; d += kThreads) {
      x[d] = x[d] * factor * widen(weight[d]);
    }
  }
}

template <class Weight>
sx_status launch(Context& context, const sx_head_norm_params& args) {
  const int64_t heads = args.rows * args.heads;
  const bool is_short = args.dim <= kWarpDim;
  const unsigned grid = grid_of(min64(is_short ? ceil_div(heads, kWarps) : heads, kMaxBlocks));
  auto kernel = is_short ? head_norm_warp_kernel<Weight> : head_norm_kernel<Weight>;
  return launch_ahead(context, "normalize heads", kernel, grid, kThreads, 0, args);
}

}  // namespace

sx_status head_norm(Context& context, const sx_head_norm_params& args) {
  if (args.rows == 0 || args.heads == 0) return SX_OK;
  return args.weight_dtype == SX_BF16 ? launch<bf16>(context, args) : launch<float>(context, args);
}

}  // namespace cuda
}  // namespace sx
