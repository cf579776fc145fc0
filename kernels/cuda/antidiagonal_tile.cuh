/*
 * The generic build's tiles of antidiagonal_score: 128 query groups by 128 key groups, read in place.
 * See antidiagonal_score.cu for what becomes of them.
 */
#ifndef SX_CUDA_ANTIDIAGONAL_TILE_CUH
#define SX_CUDA_ANTIDIAGONAL_TILE_CUH

#include "antidiagonal.cuh"
#include "mma.cuh"

namespace sx {
namespace cuda {
namespace antidiagonal {

constexpr int kThreads = 128;
/* Query groups and key groups of a tile, elements of a group in a slice. */
constexpr int kTileLog2 = 7;
constexpr int kTile = 1 << kTileLog2;
constexpr int kSlice = 64;
constexpr int kStages = 3;
constexpr int kMatrixBytes = kTile * kSlice * 2;
constexpr int kStageBytes = 2 * kMatrixBytes;
constexpr int kShared = kStages * kStageBytes;
/* Rows and columns of a warp's part of a tile. */
constexpr int kWarpTile = 64;
/* Rows that a thread copies of each matrix and slice: one chunk of every 16th row. */
constexpr int kCopies = kTile * (kSlice / 8) / kThreads;
constexpr int kCopyRows = kTile / kCopies;
static_assert(kTile == kTileRows, "both matrices of a stage have the same rows");
static_assert(kShared <= 99 * 1024, "the smallest multiprocessor has room for it");

/* How many key groups of a tile lie in tiles of the sequence before those that a row's tile sees. Those
 * of row 0 are seen by no row: their memory need not be there. */
__device__ inline int hidden_groups(const Score& score, const Tile& tile, int row) {
  if (score.window.tokens == 0) return 0;
  const int group = score.first_group + tile.first_query(score) + row;
  const int64_t first = score.window.first_tile(group >> score.cell_log2) << score.cell_log2;
  return static_cast<int>(max64(0, min64(first - tile.column * kTile, kTile)));
}

/* What copies slices to shared memory, ahead of their use, from tile to tile without a gap. */
class Producer {
 public:
  __device__ Producer(const Score& score, const Walk& walk, uint32_t base)
      : score_(score),
        walk_(walk),
        base_(base),
        slices_((1 << score.stride_log2) * (score.head_dim / kSlice)) {
    row_ = threadIdx.x / (kSlice / 8);
    chunk_ = threadIdx.x % (kSlice / 8);
  }

  __device__ int slices() const { return slices_; }

  /* Starts the copy of the next slice, if there is one, as one group. */
  __device__ void copy() {
    if (slice_ == 0 && more_) find_rows();
    if (more_) {
      score_.aligned ? copy_slice<true>() : copy_slice<false>();
      stage_ = stage_ == kStages - 1 ? 0 : stage_ + 1;
      if (++slice_ == slices_) slice_ = 0;
    }
    commit_copies();
  }

 private:
  /* Rows of the next tile that is not hidden: a group of keys lies in one of the segments. */
  __device__ void find_rows() {
    Tile tile;
    do {
      more_ = walk_.next(score_, tile);
      if (!more_) return;
      hidden_ = hidden_groups(score_, tile, 0);
    } while (hidden_ == kTile);
    const int kv_head = score_.first_kv + tile.kv_head;
    first_query_ = tile.first_query(score_) + row_;
    first_key_ = tile.column * kTile + row_;
    const int64_t token = static_cast<int64_t>(first_query_) << score_.stride_log2;
    query_ =
        score_.q + (token * score_.q_heads + tile.q_head(score_)) * score_.head_dim + chunk_ * 8;
    in_prefix_ = 0;
#pragma unroll
    for (int i = 0; i < kCopies; i++) {
      const int64_t group = first_key_ + i * kCopyRows;
      if (group < score_.prefix_groups) {
        in_prefix_ |= 1u << i;
        keys_[i] = score_.prefix_keys + kv_head * score_.prefix_head_stride +
                   (group << score_.stride_log2) * score_.prefix_token_stride + chunk_ * 8;
      } else {
        keys_[i] = score_.keys + kv_head * score_.head_stride +
                   ((group - score_.prefix_groups) << score_.stride_log2) * score_.token_stride +
                   chunk_ * 8;
      }
    }
  }

  template <bool kAligned>
  __device__ void copy_slice() const {
    static_assert(kSlice == 64, "a token's vector is one slice or two");
    const int s = score_.head_dim == 128 ? slice_ / 2 : slice_;
    const int d = score_.head_dim == 128 ? slice_ % 2 * kSlice : 0;
    const int last = (1 << score_.stride_log2) - 1;
    const int64_t q_row = static_cast<int64_t>(score_.q_heads) * score_.head_dim;
    /* Groups whose token of this slice is there: token i * S + S-1-s, key j * S + s; of these, how
     * many lie from this thread's first row of the tile on. */
    const int64_t all_queries = (score_.q_tokens + s) >> score_.stride_log2;
    const int64_t all_keys = (score_.key_tokens - s + last) >> score_.stride_log2;
    const int queries = static_cast<int>(min64(all_queries - first_query_, kTile));
    const int keys = static_cast<int>(min64(all_keys - first_key_, kTile));
    const int64_t q_step = kept(static_cast<int64_t>(kCopyRows << score_.stride_log2) * q_row);
    const bf16* query = kept(query_ + (last - s) * q_row + d);
    const int64_t own = kept(s * score_.token_stride + d);
    const int64_t prefix = kept(s * score_.prefix_token_stride + d);
    const uint32_t to = base_ + stage_ * kStageBytes;
#pragma unroll
    for (int i = 0; i < kCopies; i++) {
      const int row = row_ + i * kCopyRows;
      const bool has_query = i * kCopyRows < queries;
      const bool has_key = i * kCopyRows < keys && row >= hidden_;
      copy_row8(chunk_address<kSlice>(to, row, chunk_), query, has_query, kAligned);
      query += q_step;
      copy_row8(chunk_address<kSlice>(to + kMatrixBytes, row, chunk_),
                keys_[i] + (in_prefix_ >> i & 1 ? prefix : own), has_key, kAligned);
    }
  }

  const Score& score_;
  Walk walk_;
  uint32_t base_;
  int slices_, row_, chunk_, stage_ = 0, slice_ = 0;
  int first_query_ = 0, first_key_ = 0, hidden_ = 0;
  bool more_ = true;
  unsigned in_prefix_ = 0;
  const bf16* query_ = nullptr;
  const bf16* keys_[kCopies] = {};
};

/* sums += the warp's 64 x 64 part of one slice's product. */
__device__ inline void multiply_slice(float (&sums)[4][8][4], uint32_t stage, int warp_row,
                                      int warp_column) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kSlice / 16; k++) {
    uint32_t a[4][4];
#pragma unroll
    for (int m = 0; m < 4; m++) {
      const int row = warp_row + m * 16 + lane % 16;
      load_matrices(a[m], chunk_address<kSlice>(stage, row, 2 * k + lane / 16));
    }
#pragma unroll
    for (int n = 0; n < 4; n++) {
      uint32_t b[4];
      const int row = warp_column + n * 16 + lane / 16 * 8 + lane % 8;
      load_matrices(b, chunk_address<kSlice>(stage + kMatrixBytes, row, 2 * k + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < 4; m++) {
        multiply_add(sums[m][2 * n], a[m], b[0], b[1]);
        multiply_add(sums[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/* Writes shift + log2 of the sums over units of columns of one row's 64 weights, of which each lane
 * of four has 16: columns 8n + 2q and the next. */
__device__ inline void write_units(float* row, const float (&weights)[8][2], float shift,
                                   int unit_log2) {
  const int quad = threadIdx.x % 4;
  if (unit_log2 == 0) {
#pragma unroll
    for (int n = 0; n < 8; n++) {
      row[n * 8 + quad * 2] = shift + __log2f(weights[n][0]);
      row[n * 8 + quad * 2 + 1] = shift + __log2f(weights[n][1]);
    }
    return;
  }
  float sum = 0;
#pragma unroll
  for (int n = 0; n < 8; n++) {
    float pair = weights[n][0] + weights[n][1];
    if (unit_log2 == 1) {
      row[n * 4 + quad] = shift + __log2f(pair);
      continue;
    }
    pair += __shfl_xor_sync(~0u, pair, 1);
    if (unit_log2 == 2) {
      if (quad % 2 == 0) row[n * 2 + quad / 2] = shift + __log2f(pair);
      continue;
    }
    pair += __shfl_xor_sync(~0u, pair, 2);
    sum += pair;
    const int unit = 8 * n >> unit_log2;
    if ((n + 1) * 8 % (1 << unit_log2) != 0) continue;
    /* The lanes take turns, as a logarithm costs more than the rest. */
    if (quad == unit % 4) row[unit] = shift + __log2f(sum);
    sum = 0;
  }
}

/* As write_tile(), of a tile that no row sees. */
__device__ inline void write_hidden(const Tile& tile, const Score& score) {
  float* sums = tile.sums(score) + threadIdx.x * score.width;
  for (int unit = 0; unit < score.units_per_tile(); unit++) sums[unit] = -INFINITY;
}
static_assert(kThreads == kTile, "a thread writes a row");

/* A tile of logits to sums[row, ..]; `seen` is how many of the tile's key groups row 0 sees. */
__device__ inline void write_tile(const Tile& tile, const float (&logits)[4][8][4],
                                  const Score& score, int seen, int warp_row, int warp_column) {
  float* sums = tile.sums(score);
  const int lane = threadIdx.x % 32;
  const int units = warp_column >> score.unit_log2;
#pragma unroll
  for (int m = 0; m < 4; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = warp_row + m * 16 + half * 8 + lane / 4;
      const int end = seen + row - warp_column - lane % 4 * 2;
      const int begin = hidden_groups(score, tile, row) - warp_column - lane % 4 * 2;
      float weights[8][2], max = -INFINITY;
#pragma unroll
      for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float logit = logits[m][n][2 * half + i] * score.scale_log2;
          weights[n][i] = n * 8 + i >= begin && n * 8 + i < end ? logit : -INFINITY;
          max = fmaxf(max, weights[n][i]);
        }
      }
      max = quad_max(max);
      const float shift = max == -INFINITY ? 0 : max;
#pragma unroll
      for (int n = 0; n < 8; n++) {
        weights[n][0] = fast_exp2(weights[n][0] - shift);
        weights[n][1] = fast_exp2(weights[n][1] - shift);
      }
      write_units(sums + row * score.width + units, weights, shift, score.unit_log2);
    }
  }
}

}  // namespace antidiagonal
}  // namespace cuda
}  // namespace sx

#endif
