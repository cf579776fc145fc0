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
 * queue of its own in shared memory, of weights and of x, several steps ahead and across the borders
 * of tiles; nobody waits for another warp but at the end of a tile. Bytes of x read from L2 per byte of
 * weights: m * sizeof(bf16) / (rows of a tile * sizeof(weight)).
 */
#ifndef SX_CUDA_MATMUL_ROWS_CUH
#define SX_CUDA_MATMUL_ROWS_CUH

#include <type_traits>

#include "codes.cuh"
#include "mma.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace rows {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

/* How k is dealt; the order of sums follows from it. */
template <class Weight>
struct Depth {
  /* Elements in a lane's 16 bytes. */
  static constexpr int kVector = 16 / static_cast<int>(sizeof(Weight));
  /* Elements of k that four lanes hold. */
  static constexpr int kRun = 4 * kVector;
  /* Elements of k that a warp takes in turn, and all warps. */
  static constexpr int kPart = 4 * kRun;
  static constexpr int64_t kTurn = static_cast<int64_t>(kPart) * kWarps;
};

template <class W>
struct Product {
  using Weight = W;
  void* out;
  sx_dtype out_dtype;
  const bf16* x;
  const Weight* weight;
  const float* scales; /* [n]; null for bf16 */
  int64_t m, n, k, x_stride, out_stride;
  int64_t tiles; /* of weight rows */
  bool accumulate;
};

/* How a block works; no bit of a result depends on it.
 * rows: 16 * kRowTiles weight rows; columns: 8 * kColumnTiles rows of x; a step: kRuns runs; line: bytes
 * that come to L2 with each 16 of a weight row; kKeepsX: whether x lies in shared memory as a whole, or
 * comes with the weights through the queues, again for each tile. */
template <class W, int row_tiles, int column_tiles, int runs, int stages, int resident, int line,
          bool keeps_x = false>
struct Shape : Depth<W> {
  using Weight = W;
  using Depth<W>::kPart;
  using Depth<W>::kRun;
  using Depth<W>::kVector;
  static constexpr int kLine = line;
  static constexpr bool kScaled = sizeof(W) == 1, kKeepsX = keeps_x;
  static constexpr int kRowTiles = row_tiles, kColumnTiles = column_tiles, kRuns = runs;
  static constexpr int kStages = stages, kResident = resident;
  static constexpr int kRows = 16 * row_tiles, kColumns = 8 * column_tiles;
  static constexpr int kSteps = kPart / (runs * kRun); /* of a part */
  /* Chunks of 8 elements of x that meet 16 bytes of weights; copies of 16 bytes per lane of a run, and of
   * a step. */
  static constexpr int kXParts = kVector / 8;
  static constexpr int kRunLoads = 2 * row_tiles + (keeps_x ? 0 : kXParts * column_tiles);
  static constexpr int kLoads = runs * kRunLoads;
  static constexpr int kQueueBytes = kWarps * stages * kLoads * 512;
  static constexpr int kSharedBytes = kQueueBytes + kWarps * kColumns * 16 * 4;
  static_assert(kPart % (runs * kRun) == 0, "a part is whole steps");

  /* Of x in shared memory: elements from row to row, so that eight lanes that read 16 bytes each of two rows
   * meet no bank twice, and bytes. */
  __host__ __device__ static int64_t x_pitch(int64_t k) {
    return round_up(k, kPart) + (kXParts == 1 ? 32 : 8);
  }
  static int64_t x_bytes(int64_t m, int64_t k) { return keeps_x ? m * x_pitch(k) * 2 : 0; }
};

/* 16 bytes of a row from column `at` on, zeros behind its end at `k`, from any address. */
template <class T>
__device__ inline uint4 gather(const T* row, int64_t at, int64_t k) {
  using Bits = std::conditional_t<sizeof(T) == 1, uint8_t, uint16_t>;
  constexpr int kInWord = 4 / sizeof(T), kBits = 8 * sizeof(T);
  uint32_t words[4] = {0, 0, 0, 0};
  const Bits* bits = reinterpret_cast<const Bits*>(row);
#pragma unroll
  for (int i = 0; i < 4 * kInWord; i++) {
    if (at + i < k)
      words[i / kInWord] |= static_cast<uint32_t>(bits[at + i]) << (i % kInWord * kBits);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/* Where a chunk of 8 elements of x lies in a stage, from the lane's own place on: by the lane that needs it,
 * and by its number among that lane's chunks, by which places are exchanged against bank conflicts. */
template <class S>
__device__ inline int x_place(int owner, int part) {
  if (S::kXParts == 1) return 0;
  const int lane = threadIdx.x % 32;
  return part * 32 + ((lane / 4 * 4 + owner) ^ (part * 2)) - lane;
}
/* The lane's own. */
template <class S>
__device__ inline int own_x(int part) {
  return x_place<S>(threadIdx.x % 4, part);
}

/* Fills a lane's queue: the steps of this warp in the block's first tile, then of its next ones.
 * kAligned: rows of x and weights begin at multiples of 16 bytes, and k is whole vectors. */
template <class S, bool kAligned>
class Loader {
 public:
  using Weight = typename S::Weight;

  __device__ Loader(const Product<typename S::Weight>& product, uint4* queue)
      : product_(product),
        queue_(queue),
        tile_(blockIdx.x),
        at_(first_part()),
        policy_(evict_first()) {
    begin_tile();
  }

  /* The first steps: their weights at once, x when the kernels before this one have ended. */
  __device__ void begin(bf16* kept_x) {
    Loader ahead = *this;
#pragma unroll
    for (int stage = 0; stage + 1 < S::kStages; stage++) ahead.load_part<true, false>(stage);
    wait_for_previous();
    if (S::kKeepsX) keep_x(kept_x);
#pragma unroll
    for (int stage = 0; stage + 1 < S::kStages; stage++) {
      load_part<false, true>(stage);
      commit_copies();
    }
    if (S::kKeepsX) {
      wait_copies<S::kStages - 2>();
      __syncthreads();
    }
  }

  /* The next step goes to `stage`; behind the last one there is an empty group of copies. */
  __device__ void load(int stage) {
    load_part<true, true>(stage);
    commit_copies();
  }

 private:
  template <bool kWeights, bool kX>
  __device__ void load_part(int stage) {
    if (tile_ >= product_.tiles || first_part() >= product_.k) return;
    uint4* slot = queue_ + stage * (S::kLoads * 32);
    if (kWeights) load_weights(slot);
    if (kX && !S::kKeepsX) load_x(slot);
    advance();
  }

  __device__ static int64_t first_part() {
    return static_cast<int64_t>(threadIdx.x / 32) * S::kPart;
  }

  __device__ void begin_tile() {
    row_ = tile_ * S::kRows + threadIdx.x % 32 / 4;
    weight_ = product_.weight + row_ * product_.k;
  }

  __device__ void advance() {
    at_ += S::kRuns * S::kRun;
    if (at_ % S::kPart != 0) return;
    at_ += S::kTurn - S::kPart;
    if (at_ < product_.k) return;
    at_ = first_part();
    tile_ += gridDim.x;
    begin_tile();
  }

  __device__ void load_weights(uint4* slot) const {
    const int64_t column = at_ + threadIdx.x % 4 * S::kVector;
    if (kAligned && at_ + S::kRuns * S::kRun <= product_.k &&
        (tile_ + 1) * S::kRows <= product_.n) {
      const Weight* row = weight_ + column;
#pragma unroll
      for (int i = 0; i < 2 * S::kRowTiles; i++, row += 8 * product_.k) {
#pragma unroll
        for (int run = 0; run < S::kRuns; run++) {
          copy_stream16<S::kLine>(shared_address(slot + (run * S::kRunLoads + i) * 32),
                                  row + run * S::kRun, true, policy_);
        }
      }
      return;
    }
#pragma unroll
    for (int run = 0; run < S::kRuns; run++) {
#pragma unroll
      for (int i = 0; i < 2 * S::kRowTiles; i++) {
        copy(slot + (run * S::kRunLoads + i) * 32, weight_ + i * 8 * product_.k,
             column + run * S::kRun, row_ + i * 8 < product_.n);
      }
    }
  }

  /* All of x, zeros behind its rows' ends; each block begins elsewhere, as all of them do so at once. */
  __device__ void keep_x(bf16* to) const {
    const int chunks = static_cast<int>(round_up(product_.k, S::kPart) / 8);
    const int all = static_cast<int>(product_.m) * chunks;
    const int first = static_cast<int>(static_cast<int64_t>(all) * blockIdx.x / gridDim.x);
    for (int i = threadIdx.x; i < all; i += kThreads) {
      const int at = first + i < all ? first + i : first + i - all;
      const int row = at / chunks, column = at % chunks * 8;
      copy_x(reinterpret_cast<uint4*>(to + row * S::x_pitch(product_.k) + column),
             product_.x + row * product_.x_stride, column, true);
    }
  }

  /* Four lanes copy 64 bytes of a row at a time, whole sectors; of e4m3 a lane's 32 bytes of x are so
   * copied by two other lanes. */
  __device__ void load_x(uint4* slot) const {
#pragma unroll
    for (int run = 0; run < S::kRuns; run++) {
#pragma unroll
      for (int j = 0; j < S::kColumnTiles; j++) {
        const int64_t i = j * 8 + threadIdx.x % 32 / 4;
        uint4* to = slot + (run * S::kRunLoads + 2 * S::kRowTiles + j * S::kXParts) * 32;
#pragma unroll
        for (int part = 0; part < S::kXParts; part++) {
          const int chunk = part * 4 + threadIdx.x % 4;
          copy_x(to + x_place<S>(chunk / S::kXParts, chunk % S::kXParts),
                 product_.x + i * product_.x_stride, at_ + run * S::kRun + chunk * 8,
                 i < product_.m);
        }
      }
    }
  }

  __device__ void copy(uint4* to, const Weight* row, int64_t column, bool has_row) const {
    const bool valid = has_row && column < product_.k;
    if (!kAligned) {
      *to = valid ? gather(row, column, product_.k) : make_uint4(0, 0, 0, 0);
    } else {
      copy_stream16<S::kLine>(shared_address(to), valid ? row + column : product_.weight, valid,
                              policy_);
    }
  }

  __device__ void copy_x(uint4* to, const bf16* row, int64_t column, bool has_row) const {
    const bool valid = has_row && column < product_.k;
    if (!kAligned) {
      *to = valid ? gather(row, column, product_.k) : make_uint4(0, 0, 0, 0);
    } else {
      copy_async16(shared_address(to), valid ? row + column : product_.x, valid);
    }
  }

  const Product<typename S::Weight>& product_;
  uint4* queue_; /* [kStages][kLoads], 32 apart */
  int64_t tile_, at_;
  uint64_t policy_;
  int64_t row_ = 0;
  const Weight* weight_ = nullptr;
};

template <class S>
using Sums = float[S::kRowTiles][S::kColumnTiles][4];

/* A lane's weights of one run, as pairs of bf16. */
__device__ inline void widen_pairs(uint32_t (&out)[4], uint4 raw, bf16) {
  out[0] = raw.x, out[1] = raw.y, out[2] = raw.z, out[3] = raw.w;
}
__device__ inline void widen_pairs(uint32_t (&out)[8], uint4 raw, e4m3) {
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = widen_pair(words[i / 2], i % 2, e4m3{});
}

/* sums += 16 weight rows by 8 rows of x, of the elements that a lane has in 16 bytes of x. */
__device__ inline void multiply_part(float (&sums)[4], const uint32_t* low, const uint32_t* high,
                                     uint4 x) {
  const uint32_t first[4] = {low[0], high[0], low[1], high[1]};
  const uint32_t second[4] = {low[2], high[2], low[3], high[3]};
  multiply_add(sums, first, x.x, x.y);
  multiply_add(sums, second, x.z, x.w);
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

/* sums += the products of one step, which begins at `column`. Of weights and x, the fewer stay in registers
 * for a run. */
template <class S>
__device__ inline void multiply(Sums<S>& sums, const uint4* slot, const XReader<S>& reader,
                                int64_t column) {
  /* Pairs of weights in 16 bytes; a product takes two of each row. */
  constexpr int kPairs = S::kVector / 2;
#pragma unroll
  for (int run = 0; run < S::kRuns; run++, slot += S::kRunLoads * 32, column += S::kRun) {
    if constexpr (S::kRowTiles > S::kColumnTiles) {
      uint4 x[S::kColumnTiles][S::kXParts];
#pragma unroll
      for (int j = 0; j < S::kColumnTiles; j++) {
#pragma unroll
        for (int part = 0; part < S::kXParts; part++) {
          x[j][part] = reader.read(slot, column, j, part);
        }
      }
#pragma unroll
      for (int t = 0; t < S::kRowTiles; t++) {
        uint32_t low[kPairs], high[kPairs];
        widen_pairs(low, slot[2 * t * 32], typename S::Weight{});
        widen_pairs(high, slot[(2 * t + 1) * 32], typename S::Weight{});
#pragma unroll
        for (int part = 0; part < S::kXParts; part++) {
#pragma unroll
          for (int j = 0; j < S::kColumnTiles; j++) {
            multiply_part(sums[t][j], low + 4 * part, high + 4 * part, x[j][part]);
          }
        }
      }
    } else {
      uint32_t weights[2 * S::kRowTiles][kPairs];
#pragma unroll
      for (int i = 0; i < 2 * S::kRowTiles; i++) {
        widen_pairs(weights[i], slot[i * 32], typename S::Weight{});
      }
#pragma unroll
      for (int j = 0; j < S::kColumnTiles; j++) {
#pragma unroll
        for (int part = 0; part < S::kXParts; part++) {
          const uint4 x = reader.read(slot, column, j, part);
#pragma unroll
          for (int t = 0; t < S::kRowTiles; t++) {
            multiply_part(sums[t][j], weights[2 * t] + 4 * part, weights[2 * t + 1] + 4 * part, x);
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

/* Whether a shape that keeps x has room for it. */
template <class S>
bool fits_kept(const Product<typename S::Weight>& product, int shared_bytes) {
  return is_aligned_product(product) &&
         S::kSharedBytes + S::x_bytes(product.m, product.k) <= shared_bytes;
}

/* Rows in passes over the weights, of at most 64 rows, or 32 with little shared memory.
 * run_pass(product, deep): deep says that there are kDeepBytes of shared memory. */
constexpr int kDeepBytes = 227 << 10;
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
