/*
 * Merges partial attentions over disjoint keys (see sx_merge_states in ../sx_attention.h; Star
 * Attention, arXiv 2411.17116, section 2.2).
 *
 * out = sum over parts of weight * part, the weights being 2^lse or exp(score), normalized; f32 sums
 * in the order of the parts. A warp takes one token and head: its lanes find the largest exponent
 * together, then each adds its own elements. Bytes tokens * heads * (4*parts*D + out*D).
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr float kLog2E = 1.44269504088896341f;

/* Part p's exponent in powers of two, for one token and head. */
__device__ inline float part_exponent(const sx_merge_states_params& args, int64_t part,
                                      int64_t row) {
  const float* lse =
      args.parts + part * args.part_stride + args.tokens * args.heads * args.head_dim;
  const float* score = lse + args.tokens * args.heads;
  return args.by_score ? score[row % args.heads] * kLog2E : lse[row];
}

template <int kDim, class Out>
__global__ void __launch_bounds__(kThreads)
    merge_kernel(Out* out, const __grid_constant__ sx_merge_states_params args) {
  constexpr int kMine = kDim / 32;
  const int lane = threadIdx.x % 32;
  const int64_t rows = args.tokens * args.heads;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; row < rows;
       row += step) {
    float max = -INFINITY;
    for (int64_t part = lane; part < args.part_count; part += 32) {
      max = fmaxf(max, part_exponent(args, part, row));
    }
    max = warp_max(max);
    float sum = 0, values[kMine] = {};
    for (int64_t part = 0; part < args.part_count; part++) {
      const float exponent = part_exponent(args, part, row);
      /* An empty part's output means nothing. */
      if (exponent == -INFINITY) continue;
      const float weight = exp2f(exponent - max);
      const float* from = args.parts + part * args.part_stride + row * kDim;
      sum += weight;
#pragma unroll
      for (int i = 0; i < kMine; i++) values[i] += weight * from[lane + 32 * i];
    }
    const float inverse = sum == 0 ? 0 : 1 / sum;
#pragma unroll
    for (int i = 0; i < kMine; i++) put(out + row * kDim + lane + 32 * i, values[i] * inverse);
  }
}

template <class Out>
void launch(Context& context, const sx_merge_states_params& args) {
  const unsigned grid = grid_of(ceil_div(args.tokens * args.heads, kWarps));
  auto kernel = args.head_dim == 128 ? merge_kernel<128, Out> : merge_kernel<64, Out>;
  kernel<<<grid, kThreads, 0, context.stream>>>(static_cast<Out*>(args.out), args);
}

}  // namespace

sx_status merge_states(Context& context, const sx_merge_states_params& args) {
  if (args.tokens == 0 || args.heads == 0) return SX_OK;
  args.out_dtype == SX_BF16 ? launch<bf16>(context, args) : launch<float>(context, args);
  return launched(context, "merge");
}

}  // namespace cuda
}  // namespace sx
