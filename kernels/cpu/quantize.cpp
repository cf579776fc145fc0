/*
 * Rows rounded to 8 bits (see sx_quantize in ../sx_kernels.h).
 *
 * A task makes whole panels: it rounds 16 rows one by one, a stretch of depth at a time, and then
 * transposes groups of four bytes, so that a panel is written in order. Bound by reading: bytes
 * n*k*(sizeof(in) + 1), the rows being read twice, the second time from a cache.
 */
#include "int8_rows.h"
#include "ops.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Elements of 16 rows that are rounded before they are transposed: 16 KiB. */
constexpr int64_t kStretch = 1024;

/* Writes `depth` elements of a panel from 16 rows of them, kStretch apart. */
void transpose(char* out, const int8_t* rows, int64_t depth) {
  const uint32_t flip = 0x80808080u; /* adds 128 to each byte */
  for (int64_t l = 0; l < depth; l += kQuad, out += kQuadBytes) {
    uint32_t quads[kPanelRows];
    for (int64_t j = 0; j < kPanelRows; j++) {
      __builtin_memcpy(&quads[j], rows + j * kStretch + l, sizeof quads[j]);
      quads[j] ^= flip;
    }
    __builtin_memcpy(out, quads, sizeof quads);
  }
}

void take_numbers(int8_t* out, const int8_t* in, int64_t count, RowScale) {
  __builtin_memcpy(out, in, static_cast<size_t>(count));
}
template <class In>
void take_numbers(int8_t* out, const In* in, int64_t count, RowScale scale) {
  quantize_numbers<false>(out, in, count, scale);
}

RowScale scale_of(const int8_t*, int64_t) { return {0, 0}; }
template <class In>
RowScale scale_of(const In* row, int64_t k) {
  return scale_of_row(row, k);
}

template <class In>
void make_panel(const sx_quantize_params& args, int64_t panel, int8_t* rows) {
  const In* in = static_cast<const In*>(args.in) + panel * kPanelRows * args.k;
  const int64_t count = min64(kPanelRows, args.n - panel * kPanelRows);
  char* out = static_cast<char*>(args.out) + panel * panel_bytes(args.k);
  RowScale scales[kPanelRows];
  for (int64_t j = 0; j < count; j++) {
    scales[j] = scale_of(in + j * args.k, args.k);
    if (args.scales != nullptr) args.scales[panel * kPanelRows + j] = scales[j].scale;
  }
  for (int64_t l = 0; l < args.k; l += kStretch) {
    const int64_t depth = min64(kStretch, args.k - l), whole = panel_depth(depth);
    for (int64_t j = 0; j < kPanelRows; j++) {
      int8_t* row = rows + j * kStretch;
      const int64_t there = j < count ? depth : 0;
      if (there > 0) take_numbers(row, in + j * args.k + l, there, scales[j]);
      __builtin_memset(row + there, 0, static_cast<size_t>(whole - there));
    }
    transpose(out + l * kPanelRows, rows, whole);
  }
}

template <class In>
void make_panels(Context& context, const sx_quantize_params& args) {
  const int64_t panels = ceil_div(args.n, kPanelRows);
  parallel_for(context, panels, row_grain(panel_bytes(args.k)),
               [&](int64_t begin, int64_t end, int32_t) {
                 alignas(64) int8_t rows[kPanelRows * kStretch];
                 for (int64_t panel = begin; panel < end; panel++) {
                   make_panel<In>(args, panel, rows);
                 }
               });
}

}  // namespace

sx_status quantize(Context& context, const sx_quantize_params& args) {
  if (args.n == 0) return SX_OK;
  if (args.in_dtype == SX_F32) {
    make_panels<float>(context, args);
  } else if (args.in_dtype == SX_BF16) {
    make_panels<bf16>(context, args);
  } else if (args.in_dtype == SX_F16) {
    make_panels<f16>(context, args);
  } else {
    make_panels<int8_t>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
