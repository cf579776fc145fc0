/*
 * Rows of the embedding table (see sx_embedding in ../sx_kernels.h): out[t,:] =
 * scale * table[ids[t],:]. No other arithmetic but widening; bytes tokens * dim * (4 + sizeof(table)).
 */
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

template <class Table>
void copy_row(float* out, const Table* row, const sx_embedding_params& args) {
  const Vec scale = broadcast(args.scale);
  int64_t d = 0;
  for (; d + kLanes <= args.dim; d += kLanes) store(out + d, mul(load(row + d), scale));
  for (; d < args.dim; d++) out[d] = widen(row[d]) * args.scale;
}

}  // namespace

sx_status embedding(Context& context, const sx_embedding_params& args) {
  parallel_for(context, args.tokens, row_grain(args.dim * 8),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t t = begin; t < end; t++) {
                   float* out = args.out + t * args.dim;
                   const int64_t first = args.ids[t] * args.dim;
                   if (args.table_dtype == SX_F32) {
                     copy_row(out, static_cast<const float*>(args.table) + first, args);
                   } else {
                     copy_row(out, static_cast<const bf16*>(args.table) + first, args);
                   }
                 }
               });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
