/*
 * The kernel of matmul_rows.cu and matmul_rows_f8.cu, for weights of bf16 and of e4m3: out[i,j] (+)= sum
 * over l of x[i,l] * weight[j,l], x bf16, with one order of every sum whatever the number of rows.
 *
 * On the tensor cores, f32 sums, bound by memory: the weights are the factor of 16 rows and x the one
 * of 8 columns, so that 1 to 8 rows of x cost one product each, and more rows take more products with
 * the same weights. Weights of e4m3 are widened to bf16, which is exact, on their way to the tensor
 * cores; a sum is multiplied by the scale of its weights' row at its end.
 * Order of a sum: k is dealt to 8 warps in parts of kPart elements, warp w taking the parts w, w + 8,
 * ...; a warp adds its parts in order, 16 elements a product, and the sums of the warps are added in
 * order. Nothing in it depends on m, nor on how many rows and columns a block owns.
 *
 * A lane needs for its fragments just what it reads itself: the elements of 16 bytes of weights (8 of
 * bf16, 16 of e4m3), its place among four lanes deciding which, serve 2 or 4 products of 16 elements
 * of k in an order that both factors share. So each lane copies its 16 bytes asynchronously into a
 * queue of its own in shared memory, several steps ahead and across the borders of tiles; nobody waits
 * for another warp but at the end of a tile.
 * x lies in shared memory as a whole where a block has room for its rows. Else it comes through the queues,
 * too, m * sizeof(bf16) / (rows of a tile * sizeof(weight)) bytes per byte of weights, and costs more
 * than these bytes: all multiprocessors ask for the same ones at a time.
 * The first weights, and the scales, are asked for before the kernels in front have ended (overlap.cuh).
 * Discarded on an H200, a token of the 8B shape with weights and cache of e4m3: weights of 2 and 6 more
 * steps brought to L2 before that (3.67 and 3.74 instead of 3.66 ms).
 */
#ifndef SX_CUDA_MATMUL_ROWS_CUH
#define SX_CUDA_MATMUL_ROWS_CUH

#include "matmul_rows_queue.cuh"

namespace sx {
namespace cuda {

namespace rows {

template <class S>
using Sums = float[S::kRowTiles][S::kColumnTiles][4];

/* Of a lane's weights of one run, those that meet part `part` of its elements of x, as pairs of bf16. */
__device__ inline void widen_part(uint32_t (&out)[4], uint4 raw, int, bf16) {
  out[0] = raw.x, out[1] = raw.y, out[2] = raw.z, out[3] = raw.w;
}
__device__ inline void widen_part(uint32_t (&out)[4], uint4 raw, int part, e4m3) {
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; i++) out[i] = widen_pair(words[2 * part + i / 2], i % 2, e4m3{});
}

/* Where a lane reads x. */
template <class S>
class XReader {
 public:
  /* kept: of a shape that keeps x. */
  __device__ XReader(const Product<typename S::Weight>& product, const bf16* kept) {
    if (!S::kKeepsX) return;
    const int64_t pitch = S::x_pitch(product.k);
#pragma unroll
    for (int j = 0; j < S::kColumnTiles; j++) {
      const int row = j * 8 + threadIdx.x % 32 / 4;
      rows_[j] = row < product.m ? kept + row * pitch + threadIdx.x % 4 * S::kVector : nullptr;
    }
  }

  /* Part `part` of the lane's elements of row tile j: of the run that begins at `column`, and lies in `slot`. */
  __device__ uint4 read(const uint4* slot, int64_t column, int j, int part) const {
    if (!S::kKeepsX) {
      return slot[(2 * S::kRowTiles + j * S::kXParts) * 32 + own_x<S>(part)];
    }
    if (rows_[j] == nullptr) return make_uint4(0, 0, 0, 0);
    return *reinterpret_cast<const uint4*>(rows_[j] + column + part * 8);
  }

 private:
  const bf16* rows_[S::kColumnTiles];
};

/* sums += the products of one step, which begins at `column`. Each product takes up another sum than the
 * one before it, for which it would have to wait. */
template <class S, class Reader>
__device__ inline void multiply(Sums<S>& sums, const uint4* slot, const Reader& reader,
                                int64_t column) {
#pragma unroll
  for (int run = 0; run < S::kRuns; run++, slot += S::kRunLoads * 32, column += S::kRun) {
    uint4 raw[2 * S::kRowTiles];
#pragma unroll
    for (int i = 0; i < 2 * S::kRowTiles; i++) raw[i] = slot[i * 32];
#pragma unroll
    for (int part = 0; part < S::kXParts; part++) {
      uint4 x[S::kColumnTiles];
#pragma unroll
      for (int j = 0; j < S::kColumnTiles; j++) x[j] = reader.read(slot, column, j, part);
      uint32_t weights[2 * S::kRowTiles][4];
#pragma unroll
      for (int i = 0; i < 2 * S::kRowTiles; i++) {
        widen_part(weights[i], raw[i], part, typename S::Weight{});
      }
#pragma unroll
      for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int t = 0; t < S::kRowTiles; t++) {
          const uint32_t* low = weights[2 * t] + 2 * half;
          const uint32_t* high = weights[2 * t + 1] + 2 * half;
          const uint32_t pairs[4] = {low[0], high[0], low[1], high[1]};
#pragma unroll
          for (int j = 0; j < S::kColumnTiles; j++) {
            multiply_add(sums[t][j], pairs, half == 0 ? x[j].x : x[j].z,
                         half == 0 ? x[j].y : x[j].w);
          }
        }
      }
    }
  }
}

/* The scales of the rows whose sums a thread finishes. */
template <class S>
using Scales = float[S::kRowTiles];

/* Asks for them ahead of a tile. */
template <class S>
__device__ inline void load_scales(Scales<S>& scales, const Product<typename S::Weight>& product,
                                   int64_t first_row) {
  if constexpr (S::kScaled) {
#pragma unroll
    for (int t = 0; t < S::kRowTiles; t++) {
      const int64_t row = first_row + t * 16 + threadIdx.x % 16;
      scales[t] = row < product.n ? product.scales[row] : 0;
    }
  }
}

/* Adds the warps' sums up in order, 16 weight rows at a time; parts [kWarps][kColumns][16], the
 * halves of a column's rows being swapped for every second pair of columns, against bank conflicts. */
template <class S>
__device__ inline void finish_tile(const Product<typename S::Weight>& product, const Sums<S>& sums,
                                   const Scales<S>& scales, float* parts, int64_t first_row) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int t = 0; t < S::kRowTiles; t++) {
    __syncthreads(); /* parts may still be read from the tile before */
#pragma unroll
    for (int j = 0; j < S::kColumnTiles; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int column = j * 8 + lane % 4 * 2 + i % 2, row = lane / 4 + i / 2 * 8;
        parts[(warp * S::kColumns + column) * 16 + (row ^ (lane % 2 * 8))] = sums[t][j][i];
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < S::kColumns * 16; i += kThreads) {
      const int column = i / 16, row = i % 16;
      float sum = 0;
#pragma unroll
      for (int part = 0; part < kWarps; part++) {
        sum += parts[(part * S::kColumns + column) * 16 + (row ^ (column / 2 % 2 * 8))];
      }
      const int64_t j = first_row + t * 16 + row;
      if (column >= product.m || j >= product.n) continue;
      if (S::kScaled) sum = __fmul_rn(sum, scales[t]);
      put_sum(product.out, product.out_dtype, column * product.out_stride + j, sum,
              product.accumulate);
    }
  }
}

template <class S, bool kAligned>
__global__ void __launch_bounds__(kThreads, S::kResident)
    matmul_rows_kernel(const __grid_constant__ Product<typename S::Weight> product) {
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint4* queue = shared + warp * (S::kStages * S::kLoads * 32) + lane;
  float* parts = reinterpret_cast<float*>(shared) + S::kQueueBytes / 4;
  bf16* kept_x = reinterpret_cast<bf16*>(shared + S::kSharedBytes / 16);
  /* Whether lanes read each other's copies. */
  constexpr bool kExchanges = !S::kKeepsX && S::kXParts > 1;
  let_next_begin();
  Loader<S, kAligned> loader(product, queue);
  Scales<S> scales = {};
  load_scales<S>(scales, product, static_cast<int64_t>(blockIdx.x) * S::kRows);
  loader.begin(kept_x);
  const XReader<S> reader(product, kept_x);
  int stage = 0;
  for (int64_t tile = blockIdx.x; tile < product.tiles; tile += gridDim.x) {
    Sums<S> sums = {};
    if (tile != blockIdx.x) load_scales<S>(scales, product, tile * S::kRows);
    for (int64_t at = static_cast<int64_t>(warp) * S::kPart; at < product.k; at += S::kTurn) {
      for (int step = 0; step < S::kSteps; step++) {
        /* The place of the step before is free: its elements were multiplied already. */
        if (kExchanges) __syncwarp();
        loader.load(stage == 0 ? S::kStages - 1 : stage - 1);
        wait_copies<S::kStages - 1>();
        if (kExchanges) __syncwarp();
        multiply<S>(sums, queue + stage * (S::kLoads * 32), reader,
                    at + step * (S::kRuns * S::kRun));
        stage = stage + 1 == S::kStages ? 0 : stage + 1;
      }
    }
    finish_tile<S>(product, sums, scales, parts, tile * S::kRows);
  }
}

template <class W>
bool is_aligned_product(const Product<W>& product) {
  return is_aligned(product.x) && is_aligned(product.weight) && product.x_stride % 8 == 0 &&
         product.k % Depth<W>::kVector == 0;
}

template <class S>
sx_status launch(Context& context, Product<typename S::Weight> product) {
  const char* op = "multiply rows";
  product.tiles = ceil_div(product.n, S::kRows);
  auto kernel = S::kKeepsX || is_aligned_product(product) ? matmul_rows_kernel<S, true>
                                                          : matmul_rows_kernel<S, S::kKeepsX>;
  const int bytes = S::kSharedBytes + static_cast<int>(S::x_bytes(product.m, product.k));
  SX_RETURN_IF_BAD(allow_shared(context, op, kernel, bytes));
  const int64_t blocks = min64(product.tiles, context.multiprocessors * S::kResident);
  return launch_ahead(context, op, kernel, static_cast<unsigned>(blocks), kThreads, bytes, product);
}

/* Whether there is room for x beside the queues of a shape that keeps it; kDeepBytes are at hand. */
constexpr int kDeepBytes = 227 << 10;
template <class Kept>
bool keeps(const Product<typename Kept::Weight>& product) {
  return is_aligned_product(product) &&
         Kept::kSharedBytes + Kept::x_bytes(product.m, product.k) <= kDeepBytes;
}

/* Rows in passes over the weights, of at most 64 rows, or 32 with little shared memory.
 * run_pass(product, deep): deep says that there are kDeepBytes of shared memory. */
constexpr int kShallowBytes = 99 << 10;
template <class Weight, class RunPass>
sx_status run_passes(Context& context, const sx_matmul_params& args, RunPass run_pass) {
  int shared_bytes = 0;
  const cudaError_t error = cudaDeviceGetAttribute(
      &shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, context.device);
  if (error != cudaSuccess) return device_failure(context, "multiply rows", error);
  const bool deep = shared_bytes >= kDeepBytes;
  const int64_t most = deep ? 64 : 32;
  for (int64_t first = 0; first < args.m; first += most) {
    char* out =
        static_cast<char*>(args.out) + first * args.out_stride * dtype_bytes(args.out_dtype);
    const Product<Weight> product = {out,
                                     args.out_dtype,
                                     static_cast<const bf16*>(args.x) + first * args.x_stride,
                                     static_cast<const Weight*>(args.weight),
                                     args.weight_scales,
                                     min64(most, args.m - first),
                                     args.n,
                                     args.k,
                                     args.x_stride,
                                     args.out_stride,
                                     0,
                                     args.accumulate == 1};
    SX_RETURN_IF_BAD(run_pass(product, deep));
  }
  return SX_OK;
}

}  // namespace rows

/* The product with weights of e4m3, for any number of rows. */
sx_status matmul_rows_f8(Context& context, const sx_matmul_params& args);

}  // namespace cuda
}  // namespace sx

#endif
