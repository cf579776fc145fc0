/*
 * Sums of rows (see sx_add in ../sx_kernels.h): out[r,:] += in[r,:], or a bias that is the same for all.
 * An element a thread. Moves rows * dim * 12 bytes.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;

__global__ void __launch_bounds__(kThreads) add_kernel(const __grid_constant__ sx_add_params args) {
  let_next_begin();
  wait_for_previous();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < args.rows * args.dim; i += step) {
    const int64_t r = i / args.dim, d = i % args.dim;
    args.out[r * args.out_stride + d] += args.in[r * args.in_stride + d];
  }
}

}  // namespace

sx_status add(Context& context, const sx_add_params& args) {
  const int64_t items = args.rows * args.dim;
  if (items == 0) return SX_OK;
  const unsigned grid = grid_of(min64(ceil_div(items, kThreads), kMaxBlocks));
  return launch_ahead(context, "add", add_kernel, grid, kThreads, 0, args);
}

}  // namespace cuda
}  // namespace sx
