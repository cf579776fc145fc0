/*
 * The mean key and the mean value of every tile of 128 keys (see sx_tile_means in
 * ../sx_attention.h).
 *
 * mean[g,c,:] = sum over the keys of tile c / their number; f32 sums, key after key. Bytes read
 * 2*N*HK*D*sizeof(kv), FLOPs as many additions: memory decides. A unit is a tile of a head.
 */
#include "attention.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Columns that are summed in registers at a time; D is a multiple of it. */
constexpr int64_t kColumns = 64;

/* to[0..dim) = mean of `count` rows. */
template <class From, class To>
void average_rows(To* to, const char* rows, int64_t row_bytes, int64_t count, int64_t dim) {
  const Vec divisor = broadcast(static_cast<float>(count));
  for (int64_t column = 0; column < dim; column += kColumns) {
    Vec sums[kColumns / kLanes];
    for (Vec& sum : sums) sum = zero();
    for (int64_t n = 0; n < count; n++) {
      const From* row = reinterpret_cast<const From*>(rows + n * row_bytes) + column;
      for (int64_t i = 0; i < kColumns / kLanes; i++) {
        sums[i] = add(sums[i], load(row + i * kLanes));
      }
    }
    for (int64_t i = 0; i < kColumns / kLanes; i++) {
      store(to + column + i * kLanes, div(sums[i], divisor));
    }
  }
}

template <class From, class To>
void average_tile(const sx_tile_means_params& args, int64_t head, int64_t tile) {
  const sx_key_values& kv = args.kv;
  const int64_t first = tile * SX_TILE, count = min64(SX_TILE, all_keys(kv) - first);
  const int64_t bytes = row_bytes(kv, first);
  const int64_t at = head * args.mean_head_stride + tile * kv.head_dim;
  average_rows<From>(static_cast<To*>(args.mean_keys) + at, key_address(kv, head, first), bytes,
                     count, kv.head_dim);
  average_rows<From>(static_cast<To*>(args.mean_values) + at, value_address(kv, head, first), bytes,
                     count, kv.head_dim);
}

template <class From, class To>
void average_tiles(Context& context, const sx_tile_means_params& args) {
  const int64_t units = args.kv.kv_heads * args.tile_count;
  const int64_t unit_bytes = 2 * SX_TILE * args.kv.head_dim * dtype_bytes(args.kv.dtype);
  parallel_for(context, units, row_grain(unit_bytes), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t unit = begin; unit < end; unit++) {
      average_tile<From, To>(args, unit / args.tile_count,
                             args.first_tile + unit % args.tile_count);
    }
  });
}

}  // namespace

sx_status tile_means(Context& context, const sx_tile_means_params& args) {
  const bool from_bf16 = args.kv.dtype == SX_BF16, to_bf16 = args.mean_dtype == SX_BF16;
  const auto run = from_bf16 ? (to_bf16 ? average_tiles<bf16, bf16> : average_tiles<bf16, float>)
                             : (to_bf16 ? average_tiles<float, bf16> : average_tiles<float, float>);
  run(context, args);
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
