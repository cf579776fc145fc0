/*
 * Rows of the embedding table (see sx_embedding in ../sx_kernels.h).
 *
 * out[t,:] = scale * table[ids[t],:] as f32. Moves tokens * dim * (table + 4) bytes. One block of 256 threads
 * a token. An id outside the table, which the host cannot see, gives a row of NaN: never a read
 * outside the table, and never a plausible result.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;

template <class Table>
__global__ void __launch_bounds__(kThreads)
    embedding_kernel(float* out, const Table* table, const int32_t* ids, int64_t tokens,
                     int64_t dim, int64_t vocab, float scale, bool aligned) {
  let_next_begin();
  wait_for_previous();
  for (int64_t t = blockIdx.x; t < tokens; t += gridDim.x) {
    const int64_t id = ids[t];
    float* to = out + t * dim;
    const Table* from = table + id * dim;
    if (id < 0 || id >= vocab) {
      for (int64_t d = threadIdx.x; d < dim; d += kThreads) to[d] = __uint_as_float(0x7fc00000u);
    } else if (aligned) {
      for (int64_t d = threadIdx.x * 8; d < dim; d += kThreads * 8) {
        float values[8];
        load8(values, from + d);
#pragma unroll
        for (int i = 0; i < 8; i++) values[i] *= scale;
        store8(to + d, values);
      }
    } else {
      for (int64_t d = threadIdx.x; d < dim; d += kThreads) to[d] = widen(from[d]) * scale;
    }
  }
}

}  // namespace

sx_status embedding(Context& context, const sx_embedding_params& args) {
  if (args.tokens == 0 || args.dim == 0) return SX_OK;
  const bool aligned = is_aligned(args.out) && is_aligned(args.table) && args.dim % 8 == 0;
  const auto launch = [&](auto element) {
    using Table = decltype(element);
    return launch_ahead(context, "look up embeddings", embedding_kernel<Table>,
                        grid_of(args.tokens), kThreads, 0, args.out,
                        static_cast<const Table*>(args.table), args.ids, args.tokens, args.dim,
                        args.vocab, args.scale, aligned);
  };
  return args.table_dtype == SX_BF16 ? launch(bf16{}) : launch(float{});
}

}  // namespace cuda
}  // namespace sx
