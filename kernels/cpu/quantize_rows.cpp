/*
 * Rows rounded to e4m3, each with a scale of its own (see sx_quantize_rows in ../sx_kernels.h):
 * scales[r] = c / 448, out[r,l] = in[r,l] * (448 / c), c being the largest size in the row.
 *
 * A row per thread at a time, read twice. Bytes rows * dim * (sizeof(in) + 1).
 */
#include "e4m3.h"
#include "ops.h"
#include "row_scale.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Elements that are widened at a time; a multiple of every vector's lanes. */
constexpr int64_t kBlock = 256;

template <class In>
void widen_block(float* out, const In* in, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, load(in + i));
  if (i == count) return;
  In last[kLanes] = {};
  for (int64_t j = i; j < count; j++) last[j - i] = in[j];
  store(out + i, load(last));
}

template <class In>
uint32_t largest_of(const In* row, int64_t dim) {
  float values[kBlock];
  uint32_t most = 0;
  for (int64_t l = 0; l < dim; l += kBlock) {
    const int64_t count = min64(kBlock, dim - l);
    widen_block(values, row + l, count);
    most = largest_size(values, count, most);
  }
  return most;
}

template <class In>
void quantize_row(uint8_t* out, float* scale, const In* row, int64_t dim) {
  float factor;
  if (!scale_row(largest_of(row, dim), kE4m3Max, scale, factor)) {
    __builtin_memset(out, 0, static_cast<size_t>(dim));
    return;
  }
  float values[kBlock];
  for (int64_t l = 0; l < dim; l += kBlock) {
    const int64_t count = min64(kBlock, dim - l);
    widen_block(values, row + l, count);
    for (int64_t i = 0; i < count; i++) out[l + i] = narrow_e4m3(values[i] * factor);
  }
}

template <class In>
void run(Context& context, const sx_quantize_rows_params& args) {
  parallel_for(context, args.rows, row_grain(args.dim * 4),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t r = begin; r < end; r++) {
                   quantize_row(static_cast<uint8_t*>(args.out) + r * args.dim, args.scales + r,
                                static_cast<const In*>(args.in) + r * args.in_stride, args.dim);
                 }
               });
}

}  // namespace

sx_status quantize_rows(Context& context, const sx_quantize_rows_params& args) {
  if (args.in_dtype == SX_F32) {
    run<float>(context, args);
  } else if (args.in_dtype == SX_BF16) {
    run<bf16>(context, args);
  } else {
    run<f16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
