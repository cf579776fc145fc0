/*
 * What the builds of antidiagonal_score share: the parameters of a pass, and the walk of a block of
 * threads over its tiles.
 *
 * A tile is 128 query groups of one head by 128 or 256 key groups, a group being the S * D elements
 * of S tokens. Tiles depend on nothing but queries and keys: any block may make any of them, and
 * all multiprocessors share the tiles of a pass evenly, however few rows it has.
 */
#ifndef SX_CUDA_ANTIDIAGONAL_CUH
#define SX_CUDA_ANTIDIAGONAL_CUH

#include "../abi/window.h"
#include "ops.cuh"

namespace sx {
namespace cuda {
namespace antidiagonal {

/* Query groups of a tile. */
constexpr int kTileRows = 128;

/* Tiles of query groups, heads of a key head included, that read the same keys side by side. With 132
 * blocks it makes a front of 16 by 8 tiles, whose queries and keys stay in the L2 cache. */
constexpr int kFront = 16;

/* One call, and the pass over some of its key heads and rows that a kernel makes. */
struct Score {
  float* mass;
  const bf16* q;
  const bf16* keys;
  const bf16* prefix_keys;
  float* sums; /* log2 of the sum over a unit's exponentials: [heads, rows, width] of the pass */
  int64_t q_tokens, key_tokens; /* key_tokens: prefix included */
  int64_t token_stride, head_stride, prefix_token_stride, prefix_head_stride;
  int64_t q_tiles, key_tiles;
  int64_t width; /* units of a row of sums: whole tiles */
  int q_groups, first_group, prefix_groups;
  int border; /* the group at which a row of tiles begins anew: prefix_groups, or 0 */
  int q_heads, group, head_dim;
  int stride_log2;
  int cell_log2; /* groups of a block of 128 tokens */
  int unit_log2; /* groups of one sum: a cell or a part of it */
  int tile_log2; /* key groups of a tile */
  bool aligned;
  Window window;
  float scale_log2; /* scale / S * log2(e) */
  /* The pass: key heads, tiles of rows, and how many of these are a band. */
  int first_kv, kv_heads, first_row, rows, band;

  __host__ __device__ int border_tiles() const {
    return (border + (1 << tile_log2) - 1) >> tile_log2;
  }
  /* Tiles of key groups that a tile of rows of the call sees. */
  __host__ __device__ int tiles(int row) const {
    const int last = (row + 1) * kTileRows;
    const int visible = first_group + (last < q_groups ? last : q_groups);
    const int beyond = (1 << tile_log2) - 1;
    return visible <= border ? (visible + beyond) >> tile_log2
                             : border_tiles() + ((visible - border + beyond) >> tile_log2);
  }
  __host__ __device__ int units_per_tile() const { return 1 << (tile_log2 - unit_log2); }
};

/* One tile, by its place in the pass. */
struct Tile {
  int kv_head, head; /* head: among those of the key head */
  int row, column;

  __device__ int q_head(const Score& score) const {
    return (score.first_kv + kv_head) * score.group + head;
  }
  /* Its first query group of the call. */
  __device__ int first_query(const Score& score) const {
    return (score.first_row + row) * kTileRows;
  }
  __device__ float* sums(const Score& score) const {
    const int64_t rows = static_cast<int64_t>(kv_head * score.group + head) * score.rows + row;
    return score.sums + rows * kTileRows * score.width +
           static_cast<int64_t>(column) * score.units_per_tile();
  }
};

/* The key groups of a column of tiles. */
struct KeyGroups {
  bool is_prefix; /* only where a border is set */
  int first;      /* of the segment that a border ends or begins; without one of the sequence */
  int base;       /* in the sequence */
  int count;

  __device__ KeyGroups(const Score& score, int column) {
    const int width = 1 << score.tile_log2, before = score.border_tiles();
    is_prefix = column < before;
    first = (is_prefix ? column : column - before) * width;
    base = is_prefix ? first : score.border + first;
    count = is_prefix && score.border - first < width ? score.border - first : width;
  }
};

/* The tiles of a block: every `step`th from `number` on, of the key heads in turn; of a key head bands
 * of rows; of a band column after column, and in a column side by side what reads it. */
class Walk {
 public:
  __device__ Walk(int number, int step) : number_(number), step_(step) {}

  __device__ bool next(const Score& score, Tile& tile) {
    int rows = 0;
    for (;;) {
      if (kv_head_ == score.kv_heads) return false;
      rows = score.rows - band_ < score.band ? score.rows - band_ : score.band;
      int size = 0;
      for (int i = 0; i < rows; i++) size += score.tiles(score.first_row + band_ + i);
      size *= score.group;
      if (number_ < size) break;
      number_ -= size;
      band_ += rows;
      if (band_ == score.rows) band_ = 0, kv_head_++;
    }
    tile.kv_head = kv_head_;
    place(score, rows, tile);
    number_ += step_;
    return true;
  }

 private:
  __device__ void place(const Score& score, int rows, Tile& tile) const {
    const int common = score.tiles(score.first_row + band_);
    int rest = number_;
    if (rest < common * rows * score.group) {
      tile.column = rest / (rows * score.group);
      rest -= tile.column * rows * score.group;
      tile.row = band_ + rest / score.group;
    } else {
      /* What only the later rows see. */
      rest -= common * rows * score.group;
      int row = 1;
      for (;; row++) {
        const int more = (score.tiles(score.first_row + band_ + row) - common) * score.group;
        if (rest < more) break;
        rest -= more;
      }
      tile.row = band_ + row;
      tile.column = common + rest / score.group;
    }
    tile.head = rest % score.group;
  }

  int number_, step_, kv_head_ = 0, band_ = 0;
};

/* Hopper's build: whether its copy engine can address a call's queries and keys, how it cuts rows of
 * keys, and the sums of a pass. */
bool fits_hopper(const Context& context, const Score& score, int64_t kv_heads);
void cut_for_hopper(Score& score);
sx_status make_sums_sm90(Context& context, const Score& score, const char* op);

}  // namespace antidiagonal
}  // namespace cuda
}  // namespace sx

#endif
