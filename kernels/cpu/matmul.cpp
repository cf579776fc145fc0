/*
 * The linear layer (see sx_matmul in ../sx_kernels.h): out[i,j] (+)= sum over l x[i,l] weight[j,l].
 *
 * Many rows: weights are packed on the fly. A task takes kTaskColumns or fewer columns and all rows;
 * for every kDepth elements of depth it packs a slab of weights, transposed and widened to f32, into
 * panels of kMicroColumns columns (at most 256 KiB, half of an L2), and multiplies it by register
 * tiles of kMicroRows x kMicroColumns (6 x 16 with AVX2, 14 x 32 with AVX-512: 12 or 28 accumulators).
 * Packing costs about one cycle per weight against rows / 16 cycles of multiplying.
 * Few rows (decode): each weight is read once, straight from memory, for up to 4 rows at a time.
 * With AVX-512 bf16 and bf16 inputs the packed form holds pairs of bf16 for vdpbf16ps; with AMX
 * matmul_tiles.h multiplies bf16. Weights of 8 bits: matmul_int8.cpp.
 *
 * Accumulates in f32, over the depth in slabs of kDepth in order: the number of threads changes no
 * bit. FLOPs 2*m*n*k; bytes n*k*sizeof(weight) + m*k*sizeof(x) + 4*m*n at least.
 */
#include <string.h>

#include "attention_pack.h"
#include "matmul_f8.h"
#include "matmul_tiles.h"
#include "narrowed.h"
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

constexpr int kMicroRows = kLanes == 8 ? 6 : 14;
/* Depth of a slab: a panel of it takes 16 (AVX2) or 32 KiB and stays in L1 while rows pass. */
constexpr int64_t kDepth = 256;
/* Columns of a task at most: a slab takes 256 KiB. */
constexpr int64_t kTaskColumns = 256;
/* Up to this many rows the weights are read from memory once and not packed. */
constexpr int64_t kFewRows = 8;
constexpr int64_t kRowsAtOnce = 4;
/* Columns at once for one row of x: their sums are independent chains, and memory is read from as
 * many places at once. */
constexpr int64_t kColumnsAtOnce = 4;
/* Memory is asked for so far ahead at least, into L2: the processor's own prefetching ends at each
 * page of 4 KiB. */
constexpr int64_t kAheadBytes = 8192;
/* A thread takes up to so many bytes of weights at a time: what is asked for ahead at a chunk's end
 * belongs to another thread. */
constexpr int64_t kFewRowsChunkBytes = 1 << 19;

/* How x and weights are packed for the register tile. */
struct F32Slab {
  static constexpr int64_t kStep = 1; /* elements of depth per packed element */
  using X = float;
  static inline __attribute__((always_inline)) void multiply(Vec& c0, Vec& c1, const float* a,
                                                             Vec b0, Vec b1) {
    const Vec x = broadcast(*a);
    c0 = fma(x, b0, c0);
    c1 = fma(x, b1, c1);
  }
};

#ifdef SX_HAS_PAIRS
struct Bf16Slab {
  static constexpr int64_t kStep = 2;
  using X = float; /* the bits of a pair */
  static inline __attribute__((always_inline)) void multiply(Vec& c0, Vec& c1, const float* a,
                                                             Vec b0, Vec b1) {
    const __m512bh x = (__m512bh)broadcast(*a);
    c0 = _mm512_dpbf16_ps(c0, x, (__m512bh)b0);
    c1 = _mm512_dpbf16_ps(c1, x, (__m512bh)b1);
  }
};
#endif

/* c += a (R rows, a_stride apart) times one packed panel. `columns` of the tile are written. */
template <class Slab, int R>
void multiply_tile(const float* a, int64_t a_stride, const float* panel, int64_t depth, float* out,
                   int64_t out_stride, int64_t columns, bool add_to_out) {
  Vec c[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) c[r][0] = c[r][1] = zero();
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; k++) {
    const Vec b0 = load(panel + k * kMicroColumns);
    const Vec b1 = load(panel + k * kMicroColumns + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      Slab::multiply(c[r][0], c[r][1], a + r * a_stride + k, b0, b1);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    float* row = out + r * out_stride;
    if (columns == kMicroColumns) {
      store(row, add_to_out ? add(load(row), c[r][0]) : c[r][0]);
      store(row + kLanes, add_to_out ? add(load(row + kLanes), c[r][1]) : c[r][1]);
      continue;
    }
    float tile[kMicroColumns];
    store(tile, c[r][0]);
    store(tile + kLanes, c[r][1]);
    for (int64_t j = 0; j < columns; j++) row[j] = add_to_out ? row[j] + tile[j] : tile[j];
  }
}

template <class Slab, int R>
void multiply_rows(int64_t rows, const float* a, int64_t a_stride, const float* panel,
                   int64_t depth, float* out, int64_t out_stride, int64_t columns, bool add) {
  if constexpr (R > 1) {
    if (rows < R) {
      multiply_rows<Slab, R - 1>(rows, a, a_stride, panel, depth, out, out_stride, columns, add);
      return;
    }
  }
  multiply_tile<Slab, R>(a, a_stride, panel, depth, out, out_stride, columns, add);
}

/* Packs `depth` elements from `first` on of `columns` weight rows; the rest of a panel is zero. */
template <bool kBf16>
void pack_weights(float* out, const char* weight, int64_t row_bytes, int64_t first, int64_t depth,
                  int64_t columns) {
  constexpr int64_t kBytes = kBf16 ? 2 : 4;
  const int64_t whole = depth / 8 * 8;
  const int64_t padded = round_up(columns, kMicroColumns);
  const char* rows = weight + first * kBytes;
  pack_transposed<kBf16>(out, kDepth, rows, row_bytes, columns, padded, whole);
  for (int64_t n = 0; n < padded && whole < depth; n++) {
    float* column = out + n / kMicroColumns * kDepth * kMicroColumns + n % kMicroColumns;
    for (int64_t d = whole; d < depth; d++) {
      float value = 0;
      if (n < columns) {
        const char* element = rows + n * row_bytes + d * kBytes;
        value = kBf16 ? widen(*reinterpret_cast<const bf16*>(element))
                      : *reinterpret_cast<const float*>(element);
      }
      column[d * kMicroColumns] = value;
    }
  }
}

/* All rows of x times `columns` weight rows from `first` on. x is f32, or bf16 pairs as f32 bits. */
template <class Slab, bool kWidenWeight>
void run_task(const sx_matmul_params& args, const float* x, int64_t x_stride, int64_t first,
              int64_t columns, float* slab) {
  const int64_t packed_depth = args.k / Slab::kStep;
  const int64_t row_bytes = args.k * dtype_bytes(args.weight_dtype);
  const char* weight = static_cast<const char*>(args.weight) + first * row_bytes;
  for (int64_t l = 0; l < packed_depth; l += kDepth) {
    const int64_t depth = min64(kDepth, packed_depth - l);
    pack_weights<kWidenWeight>(slab, weight, row_bytes, l, depth, columns);
    const bool add_to_out = args.accumulate || l > 0;
    for (int64_t i = 0; i < args.m; i += kMicroRows) {
      for (int64_t j = 0; j < columns; j += kMicroColumns) {
        multiply_rows<Slab, kMicroRows>(
            min64(kMicroRows, args.m - i), x + i * x_stride + l, x_stride, slab + j * kDepth, depth,
            sums_of(args) + i * args.out_stride + first + j, args.out_stride,
            min64(kMicroColumns, columns - j), add_to_out);
      }
    }
  }
}

/* R rows of x by C columns. kPairs: x lies in load_pair's order, as the weights are read. */
template <class W, bool kPairs, int R, int C>
void dot_tile(const sx_matmul_params& args, const float* x, int64_t x_stride, int64_t i,
              int64_t j) {
  const W* weight = static_cast<const W*>(args.weight) + j * args.k;
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(W));
  const int64_t ahead = max64(kAheadBytes, C * row_bytes);
  Vec even[R][C], odd[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) even[r][c] = odd[r][c] = zero();
  }
  x += i * x_stride;
  int64_t l = 0;
  for (; l + 2 * kLanes <= args.k; l += 2 * kLanes) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const W* w = weight + c * args.k + l;
      for (int64_t byte = 0; byte < 2 * kLanes * static_cast<int64_t>(sizeof(W)); byte += 64) {
        prefetch_l2(reinterpret_cast<const char*>(w) + ahead + byte);
      }
      Vec w0, w1;
      if constexpr (kPairs) {
        load_pair(w, w0, w1);
      } else {
        w0 = load(w);
        w1 = load(w + kLanes);
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        even[r][c] = fma(load(x + r * x_stride + l), w0, even[r][c]);
        odd[r][c] = fma(load(x + r * x_stride + l + kLanes), w1, odd[r][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      float sum = reduce_add(add(even[r][c], odd[r][c]));
      for (int64_t t = l; t < args.k; t++)
        sum += x[r * x_stride + t] * widen(weight[c * args.k + t]);
      float* out = sums_of(args) + (i + r) * args.out_stride + j + c;
      *out = args.accumulate ? *out + sum : sum;
    }
  }
}

template <class W, bool kPairs>
void few_rows(Context& context, const sx_matmul_params& args, const float* x, int64_t x_stride) {
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(W));
  const Grain grain(kFewRowsChunkBytes / row_bytes, row_grain(row_bytes));
  parallel_for(context, args.n, grain, [&](int64_t begin, int64_t end, int32_t) {
    int64_t i = 0;
    for (; i + kRowsAtOnce <= args.m; i += kRowsAtOnce) {
      for (int64_t j = begin; j < end; j++) {
        dot_tile<W, kPairs, kRowsAtOnce, 1>(args, x, x_stride, i, j);
      }
    }
    for (; i < args.m; i++) {
      int64_t j = begin;
      for (; j + kColumnsAtOnce <= end; j += kColumnsAtOnce) {
        dot_tile<W, kPairs, 1, kColumnsAtOnce>(args, x, x_stride, i, j);
      }
      for (; j < end; j++) dot_tile<W, kPairs, 1, 1>(args, x, x_stride, i, j);
    }
  });
}

/* Writes x as contiguous f32; kPairs: in load_pair's order. */
template <bool kPairs>
void widen_rows(Context& context, const sx_matmul_params& args, float* out) {
  parallel_for(context, args.m, row_grain(args.k * 6), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t i = begin; i < end; i++) {
      const bf16* x = static_cast<const bf16*>(args.x) + i * args.x_stride;
      float* row = out + i * args.k;
      int64_t l = 0;
      for (; l + 2 * kLanes <= args.k; l += 2 * kLanes) {
        Vec first = load(x + l), second = load(x + l + kLanes);
        if constexpr (kPairs) load_pair(x + l, first, second);
        store(row + l, first);
        store(row + l + kLanes, second);
      }
      for (; l < args.k; l++) row[l] = widen(x[l]);
    }
  });
}

template <class Slab, bool kWidenWeight>
void many_rows(Context& context, const sx_matmul_params& args, const float* x, int64_t x_stride,
               float* slabs) {
  const int64_t panels = ceil_div(args.n, kMicroColumns);
  const int64_t share = max64(1, panels / (4 * context.threads));
  const Grain grain(min64(kTaskColumns / kMicroColumns, share), 1);
  parallel_for(context, panels, grain, [&](int64_t begin, int64_t end, int32_t worker) {
    const int64_t first = begin * kMicroColumns;
    const int64_t columns = min64(end * kMicroColumns, args.n) - first;
    run_task<Slab, kWidenWeight>(args, x, x_stride, first, columns,
                                 slabs + worker * kTaskColumns * kDepth);
  });
}

}  // namespace

sx_status matmul(Context& context, const sx_matmul_params& args) {
  if (args.m == 0 || args.n == 0) return SX_OK;
  if (args.out_dtype == SX_BF16) return narrowed(context, args, matmul);
  if (args.weight_dtype == SX_I8) return context.int8_product(context, args);
  if (args.weight_dtype == SX_F8E4M3) return multiply_f8(context, args);
  const bool bf16_weight = args.weight_dtype == SX_BF16;
  const bool few = args.m <= kFewRows;
#ifdef SX_HAS_TILES
  if (!few && args.x_dtype == SX_BF16) {
    const int64_t bytes = tiles_bytes(context, args);
    char* memory = static_cast<char*>(scratch(context, bytes));
    if (memory == nullptr) return out_of_scratch(context, "matmul", bytes);
    multiply_by_tiles(context, args, memory);
    return SX_OK;
  }
#endif
  bool pairs = false;
#ifdef SX_HAS_PAIRS
  pairs = args.x_dtype == SX_BF16 && !few && args.k % 2 == 0 && args.x_stride % 2 == 0;
#endif
  const bool widened = args.x_dtype == SX_BF16 && !pairs;
  const int64_t slab_bytes = few ? 0 : context.threads * kTaskColumns * kDepth * 4;
  const int64_t x_bytes = widened ? args.m * args.k * 4 : 0;
  char* memory = static_cast<char*>(scratch(context, slab_bytes + x_bytes));
  if (memory == nullptr) return out_of_scratch(context, "matmul", slab_bytes + x_bytes);
  float* slabs = reinterpret_cast<float*>(memory);
  const float* x = static_cast<const float*>(args.x);
  int64_t x_stride = args.x_stride;
  if (widened) {
    float* copy = reinterpret_cast<float*>(memory + slab_bytes);
    if (few) {
      widen_rows<true>(context, args, copy);
    } else {
      widen_rows<false>(context, args, copy);
    }
    x = copy;
    x_stride = args.k;
  }
  if (few) {
    if (!bf16_weight) {
      few_rows<float, false>(context, args, x, x_stride);
    } else if (widened) {
      few_rows<bf16, true>(context, args, x, x_stride);
    } else {
      few_rows<bf16, false>(context, args, x, x_stride);
    }
#ifdef SX_HAS_PAIRS
  } else if (pairs) {
    many_rows<Bf16Slab, false>(context, args, x, x_stride / 2, slabs);
#endif
  } else if (bf16_weight) {
    many_rows<F32Slab, true>(context, args, x, x_stride, slabs);
  } else {
    many_rows<F32Slab, false>(context, args, x, x_stride, slabs);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
