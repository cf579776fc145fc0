/*
 * SwiGLU (see sx_swiglu in ../sx_kernels.h; arXiv 2002.05202).
 *
 * out[r,c] = gate / (1 + exp(-gate)) * up. Moves rows * dim * (2 * in + out) bytes. 256 threads, eight
 * columns a thread where rows are aligned, one otherwise.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;

__device__ inline float gated(float gate, float up) { return gate / (1 + __expf(-gate)) * up; }

template <class In, class Out>
__global__ void __launch_bounds__(kThreads)
    swiglu_kernel(Out* out, const In* gate_up, int64_t rows, int64_t dim) {
  let_next_begin();
  wait_for_previous();
  const int64_t groups = dim / 8;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < rows * groups;
       i += step) {
    const int64_t r = i / groups, c = i % groups * 8;
    float gate[8], up[8];
    load8(gate, gate_up + r * 2 * dim + c);
    load8(up, gate_up + r * 2 * dim + dim + c);
#pragma unroll
    for (int n = 0; n < 8; n++) gate[n] = gated(gate[n], up[n]);
    store8(out + r * dim + c, gate);
  }
}

/* Any width and alignment. */
template <class In, class Out>
__global__ void __launch_bounds__(kThreads)
    swiglu_any_kernel(Out* out, const In* gate_up, int64_t rows, int64_t dim) {
  let_next_begin();
  wait_for_previous();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < rows * dim;
       i += step) {
    const int64_t r = i / dim, c = i % dim;
    put(out + i, gated(widen(gate_up[r * 2 * dim + c]), widen(gate_up[r * 2 * dim + dim + c])));
  }
}

template <class In, class Out>
sx_status launch(Context& context, const sx_swiglu_params& args) {
  Out* out = static_cast<Out*>(args.out);
  const In* in = static_cast<const In*>(args.gate_up);
  const bool aligned = is_aligned(out) && is_aligned(args.gate_up) && args.dim % 8 == 0;
  const int64_t items = args.rows * args.dim / (aligned ? 8 : 1);
  const unsigned grid = grid_of(min64(ceil_div(items, kThreads), kMaxBlocks));
  auto kernel = aligned ? swiglu_kernel<In, Out> : swiglu_any_kernel<In, Out>;
  return launch_ahead(context, "activate", kernel, grid, kThreads, 0, out, in, args.rows, args.dim);
}

}  // namespace

sx_status swiglu(Context& context, const sx_swiglu_params& args) {
  if (args.rows == 0 || args.dim == 0) return SX_OK;
  const bool narrow = args.out_dtype == SX_BF16;
  if (args.gate_up_dtype == SX_BF16) {
    return narrow ? launch<bf16, bf16>(context, args) : launch<bf16, float>(context, args);
  }
  return narrow ? launch<float, bf16>(context, args) : launch<float, float>(context, args);
}

}  // namespace cuda
}  // namespace sx
