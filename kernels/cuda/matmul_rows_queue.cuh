/*
 * How the kernel of matmul_rows.cuh deals k and rows, and how its weights and x come to shared memory.
 */
#ifndef SX_CUDA_MATMUL_ROWS_QUEUE_CUH
#define SX_CUDA_MATMUL_ROWS_QUEUE_CUH

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

  /* What falls to the calling warp: its place in the order of parts, and the first row of each tile; and to
   * its block: tiles. */
  __device__ static int chain() { return threadIdx.x / 32; }
  __device__ static int first_row() { return 0; }
  __device__ static int64_t first_tile() { return blockIdx.x; }
  __device__ static int64_t tile_step() { return gridDim.x; }
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
        tile_(S::first_tile()),
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

  __device__ static int64_t first_part() { return static_cast<int64_t>(S::chain()) * S::kPart; }

  __device__ void begin_tile() {
    row_ = tile_ * S::kRows + S::first_row() + threadIdx.x % 32 / 4;
    weight_ = product_.weight + row_ * product_.k;
  }

  __device__ void advance() {
    at_ += S::kRuns * S::kRun;
    if (at_ % S::kPart != 0) return;
    at_ += S::kTurn - S::kPart;
    if (at_ < product_.k) return;
    at_ = first_part();
    tile_ += S::tile_step();
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

}  // namespace rows
}  // namespace cuda
}  // namespace sx

#endif
