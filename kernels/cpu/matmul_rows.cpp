/*
 * Linear layers for the rows of a decode step (see sx_matmul_rows in ../sx_kernels.h): out[i,j] (+)=
 * sum over l x[i,l] weight[j,l], with one order of every sum whatever the number of rows.
 *
 * Bound by memory: a weight is read once from there for all rows. Several rows meet a block of columns
 * that is small enough to wait in a cache for the next rows, up to Dots::kRows rows by kColumns columns at
 * a time. Their depth is cut into slabs, so that a slab of rows waits in L1 for the next columns; sums wait
 * in L1, too, and go on where they were. Rows that are multiplied together are packed first, so that one
 * stream has what a step needs of them: rows 8 KiB apart would push each other out of L1.
 * Order of a sum, by x, weight and instruction set alone:
 *  - f32 arithmetic (a set without bf16 products, or f32 inputs): the lanes of two vectors
 *    add every 2 * kLanes elements in turn, then the vectors and their lanes, then what is left of k.
 *  - AVX-512 bf16: the lanes of one vector add pairs by vdpbf16ps, then the lanes.
 *  - AMX: matmul_rows_tiles.h.
 *  - weights of 8 bits: any, as their sums are exact (matmul_int8.cpp).
 * FLOPs 2*m*n*k; bytes n*k*sizeof(weight) + m*k*sizeof(x) + 4*m*n at least.
 */
#include <type_traits>

#include "matmul_rows_dots.h"
#include "matmul_rows_slabs.h"
#include "matmul_rows_tiles.h"
#include "narrowed.h"
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Columns at once for one row of x: their sums are independent chains, and memory is read from as
 * many places at once. */
constexpr int kColumnsOfOneRow = 4;
/* Memory is asked for so far ahead at least, into L2: the processor's own prefetching ends at each
 * page of 4 KiB. */
constexpr int64_t kAheadBytes = 8192;
/* A thread takes up to so many bytes of weights at a time, 0.3 ms, so that there are few ends of chunks:
 * what lies behind one may belong to another thread and is not asked for, and nothing is there yet where
 * the next one begins. Discarded: 512 KiB, asking beyond the end. */
constexpr int64_t kChunkBytes = 1 << 22;
/* Of several rows: the columns of a block in tiles, whose sums take 12 KiB, and the bytes of a block that
 * several groups of rows meet. */
constexpr int64_t kBlockTiles = 8;
constexpr int64_t kBlockBytes = 1 << 17;
/* Columns of two rows alone where sums are added by halves: all of their sums fit the registers, and the
 * weights come from memory as fast as they do for one row. */
constexpr int kColumnsOfTwoRows = 2;
constexpr int64_t kTwoRowsDepth = 2048;

/* Packs rows of x by groups of kRows: of each group [steps][rows][kStep], then what is left of k. */
template <class Dots>
void pack_rows(Context& context, const sx_matmul_params& args, typename Dots::X* out) {
  constexpr int64_t kStep = Dots::kStep;
  const int64_t whole = args.k / kStep * kStep, left = args.k - whole;
  parallel_for(context, args.m, row_grain(args.k * 6), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t i = begin; i < end; i++) {
      const auto* x = static_cast<const typename Dots::Source*>(args.x) + i * args.x_stride;
      const int64_t first = i / Dots::kRows * Dots::kRows, r = i - first;
      const int64_t rows = min64(Dots::kRows, args.m - first);
      typename Dots::X* group = out + first * args.k;
      for (int64_t l = 0; l < whole; l += kStep) Dots::pack(group + l * rows + r * kStep, x + l);
      typename Dots::X* rest = group + whole * rows + r * left;
      for (int64_t l = 0; l < left; l++) rest[l] = Dots::pack_one(x[whole + l]);
    }
  });
}

template <int C>
SX_INLINE int64_t ahead_bytes(int64_t row_bytes) {
  return max64(kAheadBytes, C * row_bytes);
}

/* One row of x by C columns from j on. kAhead: whether the weights behind these are asked for. kCut: see
 * cuts_lines(). */
template <class Dots, int C, bool kAhead, bool kCut>
void multiply_row(const sx_matmul_params& args, const typename Dots::X* x, int64_t j) {
  using Weight = typename Dots::Weight;
  constexpr int64_t kStep = Dots::kStep;
  const Weight* weight = static_cast<const Weight*>(args.weight) + j * args.k;
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(Weight));
  const int64_t ahead = ahead_bytes<C>(row_bytes);
  typename Dots::Sum sums[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; c++) Dots::clear(sums[c]);
  std::conditional_t<kCut, Lines<C>, NoLines> lines(weight, row_bytes);
  int64_t l = 0;
  for (; l + kStep <= args.k; l += kStep) {
    const typename Dots::Pair row = Dots::load_x(x + l);
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Weight* w = weight + c * args.k + l;
      if constexpr (kAhead) {
        for (int64_t byte = 0; byte < kStep * int64_t{sizeof(Weight)}; byte += 64) {
          prefetch_l2(reinterpret_cast<const char*>(w) + ahead + byte);
        }
      }
      if constexpr (kCut) {
        Dots::multiply(sums[c], row, Dots::of_line(lines.next(c, l * int64_t{sizeof(Weight)})));
      } else {
        Dots::multiply(sums[c], row, Dots::load_weight(w));
      }
    }
  }
  const int64_t left = args.k - l;
#pragma GCC unroll 4
  for (int c = 0; c < C; c++) {
    const float sum = Dots::finish(sums[c], x + l, weight + c * args.k + l, left);
    float* out = sums_of(args) + j + c;
    *out = args.accumulate == 1 ? *out + sum : sum;
  }
}

/* All rows of x by columns from j on, C at a time as long as they end before `end`; returns where it
 * stopped. */
template <class Dots, int C, bool kCut>
int64_t multiply_columns(const sx_matmul_params& args, const typename Dots::X* packed, int64_t j,
                         int64_t end) {
  using Weight = typename Dots::Weight;
  constexpr int R = Dots::kRows;
  const Slabs<Dots> slabs(args.k, C == kColumnsOfTwoRows ? kTwoRowsDepth : Slabs<Dots>::kDepth);
  const auto weight_at = [&](int64_t column, int64_t slab) {
    return static_cast<const Weight*>(args.weight) + column * args.k + slab * slabs.depth;
  };
  const int64_t tile_bytes = C * slabs.depth * static_cast<int64_t>(sizeof(Weight));
  /* A block that several groups of rows meet waits for them in L2. */
  const int64_t row_bytes = max64(1, args.k * static_cast<int64_t>(sizeof(Weight)));
  const int64_t most =
      args.m <= R ? kBlockTiles : max64(1, min64(kBlockTiles, kBlockBytes / (C * row_bytes)));
  const int64_t ahead = min64(most, max64(1, ceil_div(kAheadBytes, max64(1, tile_bytes))));
  typename Dots::Sum sums[kBlockTiles][R * C];
  while (j + C <= end) {
    const int64_t tiles = min64(most, (end - j) / C);
    for (int64_t row = 0; row < args.m; row += R) {
      const int64_t rows = min64(R, args.m - row);
      for (int64_t slab = 0; slab < slabs.count; slab++) {
        const bool is_last = slab + 1 == slabs.count;
        const int64_t depth = is_last ? args.k - slab * slabs.depth : slabs.depth;
        for (int64_t t = 0; t < tiles; t++) {
          /* Behind the block's last slab comes the next block, and before that its next slab. */
          const bool is_in_block = t + ahead < tiles;
          const int64_t next_column = j + (t + ahead - (is_in_block || is_last ? 0 : tiles)) * C;
          const int64_t next_slab = is_in_block ? slab : is_last ? 0 : slab + 1;
          const bool is_asked = row == 0 && next_column + C <= end;
          const int64_t column = j + t * C;
          const char* next = reinterpret_cast<const char*>(weight_at(next_column, next_slab));
          const Tile<Dots> tile = {packed + row * args.k + slab * slabs.depth * rows,
                                   weight_at(column, slab),
                                   is_asked ? next : nullptr,
                                   sums[t],
                                   depth / Dots::kStep,
                                   slab == 0,
                                   is_last};
          multiply_rows<Dots, R, C, kCut>(args, tile, row, column, rows);
        }
      }
    }
    j += tiles * C;
  }
  return j;
}

/* packed: see pack_rows(); one row is as it was, but for its type. */
template <class Dots, bool kCut>
void multiply(Context& context, const sx_matmul_params& args, const typename Dots::X* packed) {
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(typename Dots::Weight));
  const Grain grain(kChunkBytes / row_bytes, row_grain(row_bytes));
  const auto row_by = [&](auto columns, int64_t& j, int64_t end) {
    constexpr int C = decltype(columns)::value;
    const int64_t ahead = ahead_bytes<C>(row_bytes);
    for (; j + C <= end; j += C) {
      if ((end - j) * row_bytes > ahead) {
        multiply_row<Dots, C, true, kCut>(args, packed, j);
      } else {
        multiply_row<Dots, C, false, kCut>(args, packed, j);
      }
    }
  };
  parallel_for(context, args.n, grain, [&](int64_t j, int64_t end, int32_t) {
    if (args.m == 1) {
      row_by(std::integral_constant<int, kColumnsOfOneRow>(), j, end);
      row_by(std::integral_constant<int, 1>(), j, end);
    } else {
      if constexpr (Dots::kByHalves) {
        if (args.m == 2) j = multiply_columns<Dots, kColumnsOfTwoRows, kCut>(args, packed, j, end);
      }
      j = multiply_columns<Dots, Dots::kColumns, kCut>(args, packed, j, end);
      multiply_columns<Dots, 1, kCut>(args, packed, j, end);
    }
  });
}

template <class Dots>
void multiply_packed(Context& context, const sx_matmul_params& args,
                     const typename Dots::X* packed) {
#ifdef __AVX512F__
  if constexpr (sizeof(typename Dots::Weight) == 2) {
    if (cuts_lines(args)) return multiply<Dots, true>(context, args, packed);
  }
#endif
  multiply<Dots, false>(context, args, packed);
}

template <class Dots>
sx_status pack_and_multiply(Context& context, const sx_matmul_params& args) {
  using X = typename Dots::X;
  if (args.m == 1 && std::is_same<X, typename Dots::Source>::value) {
    multiply_packed<Dots>(context, args, static_cast<const X*>(args.x));
    return SX_OK;
  }
  const int64_t bytes = args.m * args.k * static_cast<int64_t>(sizeof(X));
  X* packed = static_cast<X*>(scratch(context, bytes));
  if (packed == nullptr) return out_of_scratch(context, "matmul_rows", bytes);
  pack_rows<Dots>(context, args, packed);
  multiply_packed<Dots>(context, args, packed);
  return SX_OK;
}

/* bf16 by bf16, by what the instruction set has for it. */
sx_status multiply_bf16(Context& context, const sx_matmul_params& args) {
#if defined(SX_HAS_PAIRS)
  return pack_and_multiply<PairDots>(context, args);
#elif defined(SX_HAS_TILES)
  const int64_t bytes = rows_bytes(args);
  char* packed = static_cast<char*>(scratch(context, bytes));
  if (packed == nullptr) return out_of_scratch(context, "matmul_rows", bytes);
  multiply_rows_by_tiles(context, args, packed);
  return SX_OK;
#else
  return pack_and_multiply<WideDots<bf16, bf16>>(context, args);
#endif
}

}  // namespace

sx_status matmul_rows(Context& context, const sx_matmul_rows_params& params) {
  const sx_matmul_params& args = params.product;
  if (args.m == 0 || args.n == 0) return SX_OK;
  if (args.out_dtype == SX_BF16) {
    return narrowed(context, args, [](Context& same, const sx_matmul_params& part) {
      return matmul_rows(same, {part});
    });
  }
  if (args.weight_dtype == SX_I8) return context.int8_product(context, args);
  if (args.weight_dtype == SX_F8E4M3) return matmul(context, args);
  if (args.x_dtype == SX_BF16) return multiply_bf16(context, args);
  return args.weight_dtype == SX_BF16 ? pack_and_multiply<WideDots<float, bf16>>(context, args)
                                      : pack_and_multiply<WideDots<float, float>>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx
