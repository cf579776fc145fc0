/*
 * SwiGLU's product (arXiv 2002.05202; see sx_swiglu in ../sx_kernels.h): silu(gate) * up, with
 * silu(g) = g / (1 + 2^(-g log2 e)). Bytes rows * dim * (8 + sizeof(out)).
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

constexpr float kLog2E = 1.44269504088896341f;

template <class Out>
void run(Context& context, const sx_swiglu_params& args) {
  const int64_t dim = args.dim;
  parallel_for(context, args.rows, row_grain(dim * 12), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t r = begin; r < end; r++) {
      const float* gate = args.gate_up + r * 2 * dim;
      const float* up = gate + dim;
      Out* out = static_cast<Out*>(args.out) + r * dim;
      int64_t d = 0;
      for (; d + kLanes <= dim; d += kLanes) {
        const Vec g = load(gate + d);
        const Vec below = add(broadcast(1.0f), exp2(mul(g, broadcast(-kLog2E))));
        store(out + d, mul(div(g, below), load(up + d)));
      }
      for (; d < dim; d++) put(out + d, gate[d] / (1.0f + exp2f(-gate[d] * kLog2E)) * up[d]);
    }
  });
}

}  // namespace

sx_status swiglu(Context& context, const sx_swiglu_params& args) {
  if (args.out_dtype == SX_F32) {
    run<float>(context, args);
  } else {
    run<bf16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
