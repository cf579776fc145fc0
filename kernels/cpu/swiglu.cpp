/*
 * SwiGLU's product (arXiv 2002.05202; see sx_swiglu in ../sx_kernels.h): silu(gate) * up, with
 * silu(g) = g / (1 + 2^(-g log2 e)). Bytes rows * dim * (2 * sizeof(in) + sizeof(out)).
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

constexpr float kLog2E = 1.44269504088896341f;

template <class In, class Out>
void run(Context& context, const sx_swiglu_params& args) {
  const int64_t dim = args.dim;
  parallel_for(context, args.rows, row_grain(dim * 12), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t r = begin; r < end; r++) {
      const In* gate = static_cast<const In*>(args.gate_up) + r * 2 * dim;
      const In* up = gate + dim;
      Out* out = static_cast<Out*>(args.out) + r * dim;
      int64_t d = 0;
      for (; d + kLanes <= dim; d += kLanes) {
        const Vec g = load(gate + d);
        const Vec below = add(broadcast(1.0f), exp2(mul(g, broadcast(-kLog2E))));
        store(out + d, mul(div(g, below), load(up + d)));
      }
      for (; d < dim; d++) {
        const float g = widen(gate[d]);
        put(out + d, g / (1.0f + exp2f(-g * kLog2E)) * widen(up[d]));
      }
    }
  });
}

}  // namespace

sx_status swiglu(Context& context, const sx_swiglu_params& args) {
  const bool wide = args.out_dtype == SX_F32;
  if (args.gate_up_dtype == SX_F32) {
    wide ? run<float, float>(context, args) : run<float, bf16>(context, args);
  } else {
    wide ? run<bf16, float>(context, args) : run<bf16, bf16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
