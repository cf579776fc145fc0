/*
 * Rows of a cache of 8 bits in floats (see sx_kv_expand in ../sx_attention.h): out = code * scale, for the
 * ops that read keys and values as F32 or BF16.
 *
 * A unit is some rows of a head. Bytes 2*N*HK*D*(1 + sizeof(out)).
 */
#include "kv_codes.h"
#include "ops.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Rows of a unit. */
constexpr int64_t kRows = 64;

template <class Code, class Out>
void expand_row(Out* out, const Code* codes, float scale, int64_t dim) {
  const Vec factor = broadcast(scale);
  for (int64_t d = 0; d < dim; d += kPair) {
    Vec first, second;
    load_codes(codes + d, first, second);
    store(out + d, mul(first, factor));
    store(out + d + kLanes, mul(second, factor));
  }
}

template <class Code, class Out>
void expand_rows(const sx_kv_expand_params& args, int64_t head, int64_t begin, int64_t end) {
  const float* scales[2] = {args.key_scales, args.value_scales};
  const void* codes[2] = {args.keys, args.values};
  void* outs[2] = {args.out_keys, args.out_values};
  for (int i = 0; i < 2; i++) {
    if (outs[i] == nullptr) continue;
    for (int64_t j = begin; j < end; j++) {
      const int64_t to = head * args.out_head_stride + j * args.out_token_stride;
      const int64_t from = head * args.head_stride + j * args.token_stride;
      expand_row(static_cast<Out*>(outs[i]) + to, static_cast<const Code*>(codes[i]) + from,
                 scales[i][head * args.scale_head_stride + j], args.head_dim);
    }
  }
}

template <class Code, class Out>
void run(Context& context, const sx_kv_expand_params& args) {
  const int64_t pieces = ceil_div(args.tokens, kRows);
  parallel_for(context, args.kv_heads * pieces, row_grain(kRows * args.head_dim * 8),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t unit = begin; unit < end; unit++) {
                   const int64_t first = unit % pieces * kRows;
                   expand_rows<Code, Out>(args, unit / pieces, first,
                                          min64(first + kRows, args.tokens));
                 }
               });
}

}  // namespace

sx_status kv_expand(Context& context, const sx_kv_expand_params& args) {
  if (args.kv_dtype == SX_I8) {
    args.out_dtype == SX_F32 ? run<i8, float>(context, args) : run<i8, bf16>(context, args);
  } else {
    args.out_dtype == SX_F32 ? run<f8, float>(context, args) : run<f8, bf16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
