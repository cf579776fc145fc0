/*
 * The kernel of matmul_rows.cuh for more rows of x than a block has room for: the same sums in the same
 * order, from compute capability 9.0 on.
 *
 * A cluster of kBlocks blocks owns a tile of weight rows, and each of them the parts of k of 8 / kBlocks
 * of the 8 places in the order of sums (see there), for all rows of the tile: so a block needs only those
 * elements of x, which lie in shared memory. Warps of one place share out the tile's rows. At the end of a
 * tile each block adds up the sums of some rows of x, reading the others' from their shared memory.
 * x comes a turn of k at a time, the next one while this one is multiplied. If all turns have room they
 * stay for the tiles that follow; else two places take turns.
 */
#ifndef SX_CUDA_MATMUL_ROWS_SPLIT_CUH
#define SX_CUDA_MATMUL_ROWS_SPLIT_CUH

#include <atomic>

#include "cluster.cuh"
#include "matmul_rows.cuh"

namespace sx {
namespace cuda {
namespace rows {

/* ------------------------------------------------------------------------------ shapes */

/* How a cluster works; no bit of a result depends on it. blocks: of a cluster; warps: of a block; the rest
 * as in Shape. */
template <class W, int blocks, int warps, int row_tiles, int column_tiles, int runs, int stages>
struct Split : Depth<W> {
  using Weight = W;
  using Depth<W>::kPart;
  using Depth<W>::kRun;
  using Depth<W>::kVector;
  static constexpr bool kScaled = sizeof(W) == 1, kKeepsX = true;
  static constexpr int kBlocks = blocks, kBlockWarps = warps, kBlockThreads = 32 * warps;
  static constexpr int kLine = 256, kStages = stages, kRuns = runs;
  static constexpr int kSteps = kPart / (runs * kRun);
  /* Places in the order of sums that a block has, and warps of each. */
  static constexpr int kChains = kWarps / blocks, kGroups = warps / kChains;
  static constexpr int kRowTiles = row_tiles, kColumnTiles = column_tiles;
  static constexpr int kRows = 16 * row_tiles * kGroups, kColumns = 8 * column_tiles;
  static constexpr int kXParts = kVector / 8;
  static constexpr int kRunLoads = 2 * row_tiles, kLoads = runs * kRunLoads;
  static constexpr int kQueueBytes = warps * stages * kLoads * 512;
  /* The sums of one row tile of each warp. */
  static constexpr int kPartFloats = warps * kColumns * 16;
  static constexpr int kSharedBytes = kQueueBytes + kPartFloats * 4 * row_tiles;
  /* Elements of a row of x of one turn that a block has, from row to row, and bytes of a turn. */
  static constexpr int kTurnWidth = kChains * kPart;
  static constexpr int kPitch = kTurnWidth + (kXParts == 1 ? 32 : 8);
  static constexpr int kTurnBytes = kColumns * kPitch * 2;
  static_assert(kWarps % blocks == 0 && warps % kChains == 0 && (kGroups & (kGroups - 1)) == 0,
                "rows are shared out evenly");

  __device__ static int chain() { return rank_in_cluster() * kChains + threadIdx.x / 32 % kChains; }
  __device__ static int first_row() { return threadIdx.x / 32 / kChains * (16 * row_tiles); }
  __device__ static int64_t first_tile() { return blockIdx.x / blocks; }
  __device__ static int64_t tile_step() { return gridDim.x / blocks; }
  static int64_t x_bytes(int64_t k, int most) {
    const int64_t turns = ceil_div(k, Depth<W>::kTurn);
    return min64(turns, kSharedBytes + turns * kTurnBytes <= most ? turns : 2) * kTurnBytes;
  }
};

/* ------------------------------------------------------------------------------ x */

/* A block's elements of x: its places of some turns in shared memory, and the lane's way to them. */
template <class S>
class Turns {
 public:
  __device__ Turns(const Product<typename S::Weight>& product, bf16* places, bool stays)
      : product_(product),
        places_(places),
        stays_(stays),
        own_(places + threadIdx.x % 32 / 4 * S::kPitch + threadIdx.x % 4 * S::kVector +
             threadIdx.x / 32 % S::kChains * S::kPart) {}

  /* Asks for a turn, the `count`th of all, zeros behind the end of k. */
  __device__ void load(int turn, int count) const {
    constexpr int kChunks = S::kTurnWidth / 8;
    const int64_t begin = turn * S::kTurn + rank_in_cluster() * S::kTurnWidth;
    bf16* place = places_ + at(turn, count);
    const int rows = static_cast<int>(product_.m);
    /* Clusters begin at different rows, as all of them ask at once. */
    const int offset = static_cast<int>(blockIdx.x / S::kBlocks % product_.m);
    for (int i = threadIdx.x; i < rows * kChunks; i += S::kBlockThreads) {
      const int line = i / kChunks + offset, chunk = i % kChunks * 8;
      const int row = line < rows ? line : line - rows;
      const bool valid = begin + chunk < product_.k;
      copy_async16(shared_address(place + row * S::kPitch + chunk),
                   valid ? product_.x + row * product_.x_stride + begin + chunk : product_.x,
                   valid);
    }
  }

  /* Where a turn begins, in elements. */
  __device__ int at(int turn, int count) const {
    return (stays_ ? turn : count % 2) * (S::kColumns * S::kPitch);
  }

  /* Of the run at `element` of the warp's part. Rows that x does not have are of no use to any other. */
  __device__ uint4 read(const uint4*, int64_t element, int j, int part) const {
    return *reinterpret_cast<const uint4*>(own_ + static_cast<int>(element) + j * 8 * S::kPitch +
                                           part * 8);
  }

 private:
  const Product<typename S::Weight>& product_;
  bf16* places_;
  bool stays_;
  const bf16* own_;
};

/* ------------------------------------------------------------------------------ sums */

/* As load_scales(): of the rows whose sums a thread finishes. */
template <class S>
__device__ inline void load_split_scales(Scales<S>& scales,
                                         const Product<typename S::Weight>& product, int64_t tile) {
  if constexpr (S::kScaled) {
#pragma unroll
    for (int t = 0; t < S::kRowTiles; t++) {
      const int64_t row = tile * S::kRows +
                          (threadIdx.x / 16 % S::kGroups * S::kRowTiles + t) * 16 +
                          threadIdx.x % 16;
      scales[t] = row < product.n ? product.scales[row] : 0;
    }
  }
}

/* As in finish_tile(): a warp's sums of row tile t to its block's shared memory. */
template <class S>
__device__ inline void store_parts(const Sums<S>& sums, float* parts, int t) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int j = 0; j < S::kColumnTiles; j++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int column = j * 8 + lane % 4 * 2 + i % 2, row = lane / 4 + i / 2 * 8;
      parts[(warp * S::kColumns + column) * 16 + (row ^ (lane % 2 * 8))] = sums[t][j][i];
    }
  }
}

/* Adds up the cluster's sums of row tile t; each block those of some rows of x. */
template <class S>
__device__ inline void add_parts(const Product<typename S::Weight>& product,
                                 const Scales<S>& scales, const float* parts, int64_t tile, int t) {
  constexpr int kOwn = S::kColumns / S::kBlocks;
  uint32_t blocks[S::kBlocks];
#pragma unroll
  for (int i = 0; i < S::kBlocks; i++) blocks[i] = place_in_block(shared_address(parts), i);
#pragma unroll
  for (int i = threadIdx.x; i < kOwn * S::kGroups * 16; i += S::kBlockThreads) {
    const int row = i % 16, group = i / 16 % S::kGroups;
    const int column = rank_in_cluster() * kOwn + i / (16 * S::kGroups);
    const uint32_t place =
        4 * ((group * S::kChains * S::kColumns + column) * 16 + (row ^ (column / 2 % 2 * 8)));
    float part[kWarps];
#pragma unroll
    for (int chain = 0; chain < kWarps; chain++) {
      part[chain] = load_from_block(blocks[chain / S::kChains] + place +
                                    chain % S::kChains * (S::kColumns * 64));
    }
    float sum = 0;
#pragma unroll
    for (int chain = 0; chain < kWarps; chain++) sum += part[chain];
    const int64_t j = tile * S::kRows + (group * S::kRowTiles + t) * 16 + row;
    if (column >= product.m || j >= product.n) continue;
    if (S::kScaled) sum = __fmul_rn(sum, scales[t]);
    put_sum(product.out, product.out_dtype, column * product.out_stride + j, sum,
            product.accumulate);
  }
}

/* How the sums of a tile are finished: a turn of the next tile later, so that hardly a block waits for
 * another. The cluster's barrier is arrived at when parts were read, and waited for before they are written
 * again; then the same with reading and writing exchanged. */
template <class S>
class Finish {
 public:
  __device__ Finish(const Product<typename S::Weight>& product, float* parts)
      : product_(product), parts_(parts) {
    arrive_cluster();
  }

  /* The sums of a tile are whole. */
  __device__ void put(const Sums<S>& sums, int64_t tile) {
    load_split_scales<S>(scales_, product_, tile);
    wait_cluster();
#pragma unroll
    for (int t = 0; t < S::kRowTiles; t++) store_parts<S>(sums, parts_ + t * S::kPartFloats, t);
    arrive();
    tile_ = tile;
  }

  /* Finishes what was put last. */
  __device__ void end_last() {
    if (tile_ < 0) return;
    wait_cluster();
#pragma unroll
    for (int t = 0; t < S::kRowTiles; t++) {
      add_parts<S>(product_, scales_, parts_ + t * S::kPartFloats, tile_, t);
    }
    arrive();
    tile_ = -1;
  }

  /* No block may end before the others have read its parts. */
  __device__ void end() {
    end_last();
    wait_cluster();
  }

 private:
  __device__ static void arrive() {
    __syncwarp();
    arrive_cluster();
  }

  const Product<typename S::Weight>& product_;
  float* parts_;
  int64_t tile_ = -1;
  Scales<S> scales_ = {};
};

/* ------------------------------------------------------------------------------ kernel */

template <class S>
__global__ void __launch_bounds__(S::kBlockThreads, 1)
    matmul_rows_split_kernel(const __grid_constant__ Product<typename S::Weight> product, int turns,
                             bool stays) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint4* queue = shared + warp * (S::kStages * S::kLoads * 32) + lane;
  float* parts = reinterpret_cast<float*>(shared) + S::kQueueBytes / 4;
  let_next_begin();
  Finish<S> finish(product, parts);
  Loader<S, true> loader(product, queue);
#pragma unroll
  for (int stage = 0; stage + 1 < S::kStages; stage++) loader.load(stage);
  wait_for_previous();
  const Turns<S> x(product, reinterpret_cast<bf16*>(shared + S::kSharedBytes / 16), stays);
  x.load(0, 0);
  commit_copies();
  const int64_t own = static_cast<int64_t>(S::chain()) * S::kPart;
  int stage = 0, count = 0;
  for (int64_t tile = S::first_tile(); tile < product.tiles; tile += S::tile_step()) {
    Sums<S> sums = {};
    for (int turn = 0; turn < turns; turn++, count++) {
      if (!stays || count < turns) {
        /* This turn was asked for a turn ago, in the first of its steps; and the turn before it is done. */
        count == 0 ? wait_copies<0>() : wait_copies<S::kSteps - 1>();
        __syncthreads();
        const bool more = turn + 1 < turns;
        const bool again = !stays && tile + S::tile_step() < product.tiles;
        if (more || again) x.load(more ? turn + 1 : 0, count + 1);
      }
      const bool has_part = turn * S::kTurn + own < product.k;
      const int place = x.at(turn, count);
      for (int step = 0; step < S::kSteps; step++) {
        if (!has_part) {
          commit_copies();
          continue;
        }
        loader.load(stage == 0 ? S::kStages - 1 : stage - 1);
        wait_copies<S::kStages - 1>();
        multiply<S>(sums, queue + stage * (S::kLoads * 32), x, place + step * (S::kRuns * S::kRun));
        stage = stage + 1 == S::kStages ? 0 : stage + 1;
      }
      finish.end_last();
    }
    finish.put(sums, tile);
  }
  finish.end();
  wait_copies<0>();
#endif
}

/* Whether a product can be split; kDeepBytes are at hand. */
template <class S>
bool splits(const Context& context, const Product<typename S::Weight>& product) {
  return context.capability >= 90 && is_aligned_product(product) && product.m <= S::kColumns &&
         S::kSharedBytes + S::x_bytes(product.k, kDeepBytes) <= kDeepBytes;
}

/* The clusters that a GPU runs at once, `bytes` of shared memory leaving room for one block on a
 * multiprocessor: fewer than there are multiprocessors for, as the groups of these are of unequal sizes. */
template <class S>
sx_status count_clusters(Context& context, const char* op, int bytes, int* out) {
  constexpr int kDevices = 64;
  static std::atomic<int> known[kDevices];
  const bool keeps = context.device < kDevices;
  if (keeps && known[context.device] > 0) {
    *out = known[context.device];
    return SX_OK;
  }
  SX_RETURN_IF_BAD(allow_shared(context, op, matmul_rows_split_kernel<S>, bytes));
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = S::kBlocks;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(S::kBlocks * static_cast<unsigned>(context.multiprocessors));
  config.blockDim = dim3(S::kBlockThreads);
  config.dynamicSmemBytes = static_cast<size_t>(bytes);
  config.attrs = &attribute;
  config.numAttrs = 1;
  const cudaError_t error =
      cudaOccupancyMaxActiveClusters(out, matmul_rows_split_kernel<S>, &config);
  if (error != cudaSuccess) return device_failure(context, op, error);
  if (*out < 1) *out = 1;
  if (keeps) known[context.device] = *out;
  return SX_OK;
}

template <class S>
sx_status launch_split(Context& context, Product<typename S::Weight> product) {
  const char* op = "multiply rows";
  product.tiles = ceil_div(product.n, S::kRows);
  const int64_t turns = ceil_div(product.k, S::kTurn);
  const int64_t x_bytes = S::x_bytes(product.k, kDeepBytes);
  const int bytes = S::kSharedBytes + static_cast<int>(x_bytes);
  int clusters = 0;
  SX_RETURN_IF_BAD(count_clusters<S>(context, op, kDeepBytes, &clusters));
  SX_RETURN_IF_BAD(allow_shared(context, op, matmul_rows_split_kernel<S>, bytes));
  const int64_t blocks = min64(product.tiles, clusters) * S::kBlocks;
  return launch_clusters_ahead(context, op, matmul_rows_split_kernel<S>,
                               static_cast<unsigned>(blocks), S::kBlocks, S::kBlockThreads, bytes,
                               product, static_cast<int>(turns), x_bytes == turns * S::kTurnBytes);
}

/* Rows of weights, of the whole depth, that the busiest block gets. */
template <class S>
sx_status most_rows(Context& context, int64_t n, int64_t* out) {
  int clusters = 0;
  SX_RETURN_IF_BAD(count_clusters<S>(context, "multiply rows", kDeepBytes, &clusters));
  *out = ceil_div(ceil_div(n, S::kRows), clusters) * S::kRows / S::kBlocks;
  return SX_OK;
}

/* With a shape that splits a product, if it can be split, or with the other one; with Even where that shares
 * out the rows more evenly than Usual. */
template <class Usual, class Even, class Other>
sx_status launch_split_or(Context& context, const Product<typename Usual::Weight>& product) {
  if (!splits<Usual>(context, product)) return launch<Other>(context, product);
  if (std::is_same_v<Usual, Even> || !splits<Even>(context, product)) {
    return launch_split<Usual>(context, product);
  }
  int64_t usual = 0, even = 0;
  SX_RETURN_IF_BAD(most_rows<Usual>(context, product.n, &usual));
  SX_RETURN_IF_BAD(most_rows<Even>(context, product.n, &even));
  return even < usual ? launch_split<Even>(context, product)
                      : launch_split<Usual>(context, product);
}

}  // namespace rows
}  // namespace cuda
}  // namespace sx

#endif
