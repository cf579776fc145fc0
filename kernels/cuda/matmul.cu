/*
 * Linear layers (see sx_matmul in ../sx_kernels.h): out[i,j] (+)= sum over l of x[i,l] * weight[j,l].
 *
 * bf16 by bf16 on the tensor cores, f32 sums. It is made for decoding, where 1 to 16 rows meet every
 * weight once: bound by memory, 2*n*k bytes. A block of 8 warps owns 8 or 16 columns and 16 rows; the
 * warps share out k in runs of 128 or 64 and their sums meet in shared memory, in a fixed order.
 * A sum does not care for the order of k: the lane that holds elements (8q..8q+7) of a run of 32
 * takes them for two products of 16, so that it reads 16 bytes at a time, straight into fragments.
 * More rows repeat that for every 16 of them; a caller with many has cuBLAS.
 * Weights of e4m3: matmul_rows_f8.cu, whatever the number of rows.
 *
 * f32 activations: 64 x 64 tiles of plain multiply-adds, weights widened in shared memory.
 */
#include "matmul_rows.cuh"
#include "mma.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
/* Rows of one product on the tensor cores. */
constexpr int kRows = 16;
/* Elements of k that a warp takes at a time: four lanes, 16 bytes each. */
constexpr int kRun = 32;
/* Loads of weights that a lane has under way: 64 bytes, of two turns. */
constexpr int kLoads = 4;
/* From so many rows on, two tiles of columns share a read of the activations. */
constexpr int kFewRows = 5;

struct Product {
  void* out;
  sx_dtype out_dtype;
  const bf16* x;
  const bf16* weight;
  int64_t m, n, k, x_stride, out_stride;
  bool accumulate;
};

/* Eight elements of a row from column `at` on, zeros behind its end at `k`. */
template <bool kAligned>
__device__ inline uint4 load_row8(const bf16* row, int64_t at, int64_t k) {
  if (kAligned || at + 8 <= k) return load_raw8(row + at, kAligned);
  uint32_t words[4] = {0, 0, 0, 0};
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(row);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (at + i < k) words[i / 2] |= static_cast<uint32_t>(halves[at + i]) << (i % 2 * 16);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/* The same of weights, which pass through the cache once. */
template <bool kAligned>
__device__ inline uint4 load_weight8(const bf16* row, int64_t at, int64_t k) {
  if (kAligned) return __ldcs(reinterpret_cast<const uint4*>(row + at));
  return load_row8<kAligned>(row, at, k);
}

/* A warp's part of one tile of 16 rows by 8 * kTiles columns. kAligned: rows of x and weights begin
 * at multiples of 16 bytes, and k is a multiple of 8. */
template <int kTiles, bool kAligned>
struct WarpProduct {
  /* Runs of kRun that belong together, so that a row is read in pieces of 128 bytes or more. */
  static constexpr int kRuns = kLoads / kTiles;
  static constexpr int kStep = kRuns * kRun;

  const Product& product;
  const bf16* x_rows[2];
  const bf16* weight_rows[kTiles];
  bool has_x[2], has_weight[kTiles];
  int lane_at;

  __device__ WarpProduct(const Product& all, int64_t first_row, int64_t first_column)
      : product(all) {
    const int lane = threadIdx.x % 32;
    lane_at = lane % 4 * 8;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int64_t row = first_row + lane / 4 + half * 8;
      has_x[half] = row < all.m;
      x_rows[half] = all.x + (has_x[half] ? row : 0) * all.x_stride;
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; tile++) {
      const int64_t column = first_column + tile * 8 + lane / 4;
      has_weight[tile] = column < all.n;
      weight_rows[tile] = all.weight + (has_weight[tile] ? column : 0) * all.k;
    }
  }

  __device__ void load_weights(uint4 (&to)[kRuns][kTiles], int64_t at) const {
#pragma unroll
    for (int run = 0; run < kRuns; run++) {
#pragma unroll
      for (int tile = 0; tile < kTiles; tile++) {
        const int64_t column = at + run * kRun + lane_at;
        to[run][tile] = make_uint4(0, 0, 0, 0);
        if (has_weight[tile] && column < product.k) {
          to[run][tile] = load_weight8<kAligned>(weight_rows[tile], column, product.k);
        }
      }
    }
  }

  __device__ void multiply(float (&sums)[kTiles][4], const uint4 (&weights)[kRuns][kTiles],
                           int64_t at) const {
#pragma unroll
    for (int run = 0; run < kRuns; run++) {
      const int64_t column = at + run * kRun + lane_at;
      uint4 x[2];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        x[half] = make_uint4(0, 0, 0, 0);
        if (has_x[half] && column < product.k) {
          x[half] = load_row8<kAligned>(x_rows[half], column, product.k);
        }
      }
      const uint32_t first[4] = {x[0].x, x[1].x, x[0].y, x[1].y};
      const uint32_t second[4] = {x[0].z, x[1].z, x[0].w, x[1].w};
#pragma unroll
      for (int tile = 0; tile < kTiles; tile++) {
        const uint4& w = weights[run][tile];
        multiply_add(sums[tile], first, w.x, w.y);
        multiply_add(sums[tile], second, w.z, w.w);
      }
    }
  }

  /* sums += the warp's share of k; the next weights travel while these are used. */
  __device__ void run(float (&sums)[kTiles][4]) const {
    constexpr int64_t kStride = static_cast<int64_t>(kWarps) * kStep;
    uint4 next[kRuns][kTiles];
    int64_t at = static_cast<int64_t>(threadIdx.x / 32) * kStep;
    load_weights(next, at);
    for (; at < product.k; at += kStride) {
      uint4 weights[kRuns][kTiles];
#pragma unroll
      for (int i = 0; i < kRuns; i++) {
#pragma unroll
        for (int tile = 0; tile < kTiles; tile++) weights[i][tile] = next[i][tile];
      }
      load_weights(next, at + kStride);
      multiply(sums, weights, at);
    }
  }
};

template <int kTiles, bool kAligned>
__global__ void __launch_bounds__(kThreads, 3)
    matmul_kernel(const __grid_constant__ Product product, int64_t row_tiles,
                  int64_t column_tiles) {
  constexpr int kColumns = kTiles * 8;
  __shared__ float parts[kWarps][kRows][kColumns];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int64_t job = blockIdx.x; job < row_tiles * column_tiles; job += gridDim.x) {
    const int64_t first_row = job / column_tiles * kRows;
    const int64_t first_column = job % column_tiles * kColumns;
    float sums[kTiles][4] = {};
    WarpProduct<kTiles, kAligned>(product, first_row, first_column).run(sums);
#pragma unroll
    for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        parts[warp][lane / 4 + i / 2 * 8][tile * 8 + lane % 4 * 2 + i % 2] = sums[tile][i];
      }
    }
    __syncthreads();
    if (threadIdx.x < kRows * kColumns) {
      const int row = threadIdx.x / kColumns, column = threadIdx.x % kColumns;
      float sum = 0;
#pragma unroll
      for (int part = 0; part < kWarps; part++) sum += parts[part][row][column];
      if (first_row + row < product.m && first_column + column < product.n) {
        put_sum(product.out, product.out_dtype,
                (first_row + row) * product.out_stride + first_column + column, sum,
                product.accumulate);
      }
    }
    __syncthreads();
  }
}

template <int kTiles, bool kAligned>
void launch_product(Context& context, const Product& product) {
  static_assert(kRows * kTiles * 8 <= kThreads, "a thread adds up one sum");
  const int64_t row_tiles = ceil_div(product.m, kRows);
  const int64_t column_tiles = ceil_div(product.n, kTiles * 8);
  const unsigned grid = grid_of(row_tiles * column_tiles);
  matmul_kernel<kTiles, kAligned>
      <<<grid, kThreads, 0, context.stream>>>(product, row_tiles, column_tiles);
}

/* Sides of the tiles of f32 products; a thread owns 4 x 4 of their sums. */
constexpr int kTile = 64;
constexpr int kDepth = 16;

template <class Weight>
__global__ void __launch_bounds__(kThreads)
    matmul_f32_kernel(void* out, const float* x, const Weight* weight, sx_matmul_params args,
                      int64_t column_tiles, int64_t tiles) {
  /* One more column than used, so that a column's elements lie in different banks. */
  __shared__ float x_part[kDepth][kTile + 1], weight_part[kDepth][kTile + 1];
  const int row = threadIdx.x / 16, column = threadIdx.x % 16;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first_row = tile / column_tiles * kTile;
    const int64_t first_column = tile % column_tiles * kTile;
    float sums[4][4] = {};
    for (int64_t at = 0; at < args.k; at += kDepth) {
      __syncthreads();
      for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
        const int64_t l = at + i % kDepth, r = first_row + i / kDepth,
                      c = first_column + i / kDepth;
        x_part[i % kDepth][i / kDepth] = l < args.k && r < args.m ? x[r * args.x_stride + l] : 0;
        weight_part[i % kDepth][i / kDepth] =
            l < args.k && c < args.n ? widen(weight[c * args.k + l]) : 0;
      }
      __syncthreads();
#pragma unroll
      for (int l = 0; l < kDepth; l++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
          for (int j = 0; j < 4; j++) {
            sums[i][j] += x_part[l][row + 16 * i] * weight_part[l][column + 16 * j];
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int64_t r = first_row + row + 16 * i, c = first_column + column + 16 * j;
        if (r >= args.m || c >= args.n) continue;
        put_sum(out, args.out_dtype, r * args.out_stride + c, sums[i][j], args.accumulate == 1);
      }
    }
  }
}

template <class Weight>
void launch_f32(Context& context, const sx_matmul_params& args) {
  const int64_t column_tiles = ceil_div(args.n, kTile);
  const int64_t tiles = ceil_div(args.m, kTile) * column_tiles;
  matmul_f32_kernel<<<grid_of(tiles), kThreads, 0, context.stream>>>(
      args.out, static_cast<const float*>(args.x), static_cast<const Weight*>(args.weight), args,
      column_tiles, tiles);
}

}  // namespace

sx_status matmul(Context& context, const sx_matmul_params& args) {
  if (args.m == 0 || args.n == 0) return SX_OK;
  if (args.x_dtype == SX_F32) {
    args.weight_dtype == SX_BF16 ? launch_f32<bf16>(context, args)
                                 : launch_f32<float>(context, args);
    return launched(context, "multiply");
  }
  if (args.weight_dtype == SX_F8E4M3) return matmul_rows_f8(context, args);
  const Product product = {args.out,
                           args.out_dtype,
                           static_cast<const bf16*>(args.x),
                           static_cast<const bf16*>(args.weight),
                           args.m,
                           args.n,
                           args.k,
                           args.x_stride,
                           args.out_stride,
                           args.accumulate == 1};
  const bool few = args.m < kFewRows;
  if (is_aligned(args.x) && is_aligned(args.weight) && (args.x_stride | args.k) % 8 == 0) {
    few ? launch_product<1, true>(context, product) : launch_product<2, true>(context, product);
  } else {
    few ? launch_product<1, false>(context, product) : launch_product<2, false>(context, product);
  }
  return launched(context, "multiply");
}

}  // namespace cuda
}  // namespace sx
