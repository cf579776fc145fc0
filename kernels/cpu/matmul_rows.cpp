/*
 * Linear layers for the rows of a decode step (see sx_matmul_rows in ../sx_kernels.h): out[i,j] (+)=
 * sum over l x[i,l] weight[j,l], with one order of every sum whatever the number of rows.
 *
 * Bound by memory: a weight is read once from there for all rows. A tile of columns meets up to
 * Dots::kRows rows at a time, the columns being few enough to wait in a cache for the next rows. Rows
 * that are multiplied together are packed first, so that one stream has what a step needs of them:
 * rows 8 KiB apart would push each other out of L1.
 * Order of a sum, by x, weight and instruction set alone:
 *  - f32 arithmetic (a set without bf16 products, or f32 inputs): the lanes of two vectors
 *    add every 2 * kLanes elements in turn, then the vectors and their lanes, then what is left of k.
 *  - AVX-512 bf16: the lanes of one vector add pairs by vdpbf16ps, then the lanes.
 *  - AMX: matmul_rows_tiles.h.
 *  - weights of 8 bits: any, as their sums are exact (matmul_int8.cpp).
 * FLOPs 2*m*n*k; bytes n*k*sizeof(weight) + m*k*sizeof(x) + 4*m*n at least.
 */
#include <type_traits>

#include "matmul_rows_tiles.h"
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
constexpr int64_t kLine = 64; /* bytes */

/* Whether rows of weights can be read by whole lines of the cache although none begins with one, as a
 * file puts its matrices where the one before ends: then vectors are cut out of two lines. A vector that
 * lies across two lines takes as long as two, and waits for both. No byte is read of a line that holds
 * none of the row. */
#ifdef __AVX512F__
bool cuts_lines(const sx_matmul_params& args) {
  const uintptr_t off = reinterpret_cast<uintptr_t>(args.weight) % kLine;
  return args.k * 2 % kLine == 0 && off != 0 && off % 4 == 0;
}

/* C rows of weights of 16 bits, cut out of their lines. */
template <int C>
class Lines {
 public:
  SX_INLINE_METHOD Lines(const void* weight, int64_t row_bytes) : row_bytes_(row_bytes) {
    const int off = static_cast<int>(reinterpret_cast<uintptr_t>(weight) % kLine);
    const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    index_ = _mm512_add_epi32(steps, _mm512_set1_epi32(off / 4));
    first_ = static_cast<const char*>(weight) - off;
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) lines_[c] = _mm512_load_si512(first_ + c * row_bytes_);
  }
  /* 64 bytes of row c from `byte` on; byte after byte. */
  SX_INLINE_METHOD __m512i next(int c, int64_t byte) {
    const __m512i line = _mm512_load_si512(first_ + c * row_bytes_ + byte + kLine);
    const __m512i cut = _mm512_permutex2var_epi32(lines_[c], index_, line);
    lines_[c] = line;
    return cut;
  }

 private:
  __m512i lines_[C], index_;
  const char* first_;
  int64_t row_bytes_;
};
#else
template <int C>
class Lines {};
#endif
/* Where rows are read as they lie. */
struct NoLines {
  SX_INLINE_METHOD NoLines(const void*, int64_t) {}
};

/* Sums of f32 products. In: x as the caller has it.
 * Discarded: widening bf16 by load_pair, whose whole vectors lie across two lines of a cache wherever
 * a file does not align its weights: 5.0 instead of 2.9 ms for 8 rows, on a Zen 5. */
template <class In, class W>
struct WideDots {
  using Source = In;
  using X = float; /* as packed */
  using Weight = W;
  /* Rows and columns whose sums fit the registers beside what they are made of. */
  static constexpr int kRows = kLanes == 8 ? 2 : 4;
  static constexpr int kColumns = kLanes == 8 ? 2 : 3;
  static constexpr int64_t kStep = 2 * kLanes;

  struct Sum {
    Vec even, odd;
  };
  struct Pair {
    Vec first, second;
  };
  static SX_INLINE_METHOD void clear(Sum& sum) { sum.even = sum.odd = zero(); }
  static SX_INLINE_METHOD Pair load_x(const X* x) { return {load(x), load(x + kLanes)}; }
  static SX_INLINE_METHOD Pair load_weight(const W* weight) {
    return {load(weight), load(weight + kLanes)};
  }
#ifdef __AVX512F__
  static SX_INLINE_METHOD Pair of_line(__m512i line) {
    const auto widened = [](__m256i half) {
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    };
    return {widened(_mm512_castsi512_si256(line)), widened(_mm512_extracti64x4_epi64(line, 1))};
  }
#endif
  static SX_INLINE_METHOD void pack(X* out, const In* x) {
    store(out, load(x));
    store(out + kLanes, load(x + kLanes));
  }
  static SX_INLINE_METHOD X pack_one(In x) { return widen(x); }
  static SX_INLINE_METHOD void multiply(Sum& sum, const Pair& x, const Pair& weight) {
    sum.even = fma(x.first, weight.first, sum.even);
    sum.odd = fma(x.second, weight.second, sum.odd);
  }
  static SX_INLINE_METHOD float finish(const Sum& sum, const X* x, const W* weight, int64_t left) {
    float total = reduce_add(add(sum.even, sum.odd));
    for (int64_t l = 0; l < left; l++) total += x[l] * widen(weight[l]);
    return total;
  }
};

#ifdef SX_HAS_PAIRS
/* Sums of products of bf16 pairs. */
struct PairDots {
  using Source = bf16;
  using X = bf16;
  using Weight = bf16;
  static constexpr int kRows = 8;
  static constexpr int kColumns = 3;
  static constexpr int64_t kStep = 2 * kLanes;

  using Sum = Vec;
  using Pair = __m512bh;
  static SX_INLINE_METHOD void clear(Sum& sum) { sum = zero(); }
  static SX_INLINE_METHOD Pair load_x(const X* x) { return (Pair)_mm512_loadu_si512(x); }
  static SX_INLINE_METHOD Pair load_weight(const bf16* weight) { return load_x(weight); }
  static SX_INLINE_METHOD Pair of_line(__m512i line) { return (Pair)line; }
  static SX_INLINE_METHOD void pack(X* out, const X* x) {
    _mm512_storeu_si512(out, _mm512_loadu_si512(x));
  }
  static SX_INLINE_METHOD X pack_one(X x) { return x; }
  static SX_INLINE_METHOD void multiply(Sum& sum, Pair x, Pair weight) {
    sum = _mm512_dpbf16_ps(sum, x, weight);
  }
  static SX_INLINE_METHOD float finish(Sum sum, const X* x, const bf16* weight, int64_t left) {
    const __mmask32 mask = static_cast<__mmask32>((1ull << left) - 1);
    multiply(sum, (Pair)_mm512_maskz_loadu_epi16(mask, x),
             (Pair)_mm512_maskz_loadu_epi16(mask, weight));
    return reduce_add(sum);
  }
};
#endif

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

/* A group of R rows of x from row i on by C columns from j on. kFirst: whether these weights come
 * from memory, so that those after them are asked for. kCut: see cuts_lines(). */
template <class Dots, int R, int C, bool kFirst, bool kCut>
void multiply_tile(const sx_matmul_params& args, const typename Dots::X* packed, int64_t i,
                   int64_t j) {
  using Weight = typename Dots::Weight;
  constexpr int64_t kStep = Dots::kStep;
  const Weight* weight = static_cast<const Weight*>(args.weight) + j * args.k;
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(Weight));
  const int64_t ahead = ahead_bytes<C>(row_bytes);
  typename Dots::Sum sums[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) Dots::clear(sums[r][c]);
  }
  const typename Dots::X* x = packed + i * args.k;
  std::conditional_t<kCut, Lines<C>, NoLines> lines(weight, row_bytes);
  int64_t l = 0;
  for (; l + kStep <= args.k; l += kStep, x += R * kStep) {
    typename Dots::Pair weights[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Weight* w = weight + c * args.k + l;
      if constexpr (kFirst) {
        for (int64_t byte = 0; byte < kStep * int64_t{sizeof(Weight)}; byte += 64) {
          prefetch_l2(reinterpret_cast<const char*>(w) + ahead + byte);
        }
      }
      if constexpr (kCut) {
        weights[c] = Dots::of_line(lines.next(c, l * int64_t{sizeof(Weight)}));
      } else {
        weights[c] = Dots::load_weight(w);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const typename Dots::Pair row = Dots::load_x(x + r * kStep);
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) Dots::multiply(sums[r][c], row, weights[c]);
    }
  }
  const int64_t left = args.k - l;
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const float sum = Dots::finish(sums[r][c], x + r * left, weight + c * args.k + l, left);
      float* out = args.out + (i + r) * args.out_stride + j + c;
      *out = args.accumulate == 1 ? *out + sum : sum;
    }
  }
}

/* All rows of x by C columns, R at a time and then the rest, which is one group of fewer. */
template <class Dots, int R, int C, bool kFirst, bool kCut>
void multiply_columns(const sx_matmul_params& args, const typename Dots::X* packed, int64_t i,
                      int64_t j) {
  if constexpr (R > 1) {
    if (args.m - i < R) return multiply_columns<Dots, R - 1, C, kFirst, kCut>(args, packed, i, j);
  }
  multiply_tile<Dots, R, C, kFirst, kCut>(args, packed, i, j);
  for (i += R; i + R <= args.m; i += R) multiply_tile<Dots, R, C, false, kCut>(args, packed, i, j);
  if constexpr (R > 1) {
    if (i < args.m) multiply_columns<Dots, R - 1, C, false, kCut>(args, packed, i, j);
  }
}

/* packed: see pack_rows(); one row is as it was, but for its type. */
template <class Dots, bool kCut>
void multiply(Context& context, const sx_matmul_params& args, const typename Dots::X* packed) {
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(typename Dots::Weight));
  const Grain grain(kChunkBytes / row_bytes, row_grain(row_bytes));
  const auto columns_at_once = [&](auto rows, auto columns, int64_t& j, int64_t end) {
    const int64_t ahead = ahead_bytes<columns()>(row_bytes);
    for (; j + columns() <= end; j += columns()) {
      if ((end - j) * row_bytes > ahead) {
        multiply_columns<Dots, rows(), columns(), true, kCut>(args, packed, 0, j);
      } else {
        multiply_columns<Dots, rows(), columns(), false, kCut>(args, packed, 0, j);
      }
    }
  };
  const std::integral_constant<int, 1> one;
  const std::integral_constant<int, Dots::kRows> rows;
  parallel_for(context, args.n, grain, [&](int64_t j, int64_t end, int32_t) {
    if (args.m == 1) {
      columns_at_once(one, std::integral_constant<int, kColumnsOfOneRow>(), j, end);
    } else {
      columns_at_once(rows, std::integral_constant<int, Dots::kColumns>(), j, end);
    }
    columns_at_once(rows, one, j, end);
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
  if (args.weight_dtype == SX_I8) return context.int8_product(context, args);
  if (args.weight_dtype == SX_F8E4M3) return matmul(context, args);
  if (args.x_dtype == SX_BF16) return multiply_bf16(context, args);
  return args.weight_dtype == SX_BF16 ? pack_and_multiply<WideDots<float, bf16>>(context, args)
                                      : pack_and_multiply<WideDots<float, float>>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx
