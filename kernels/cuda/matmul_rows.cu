/*
 * Linear layers for the rows of a decode step (see sx_matmul_rows in ../sx_kernels.h): out[i,j] (+)=
 * sum over l of x[i,l] * weight[j,l], with one order of every sum whatever the number of rows.
 *
 * bf16 by bf16 on the tensor cores, f32 sums, bound by memory: 2*n*k bytes. The weights are the
 * factor of 16 rows and x the one of 8 columns, so that 1 to 8 rows of x cost one product each, and
 * more rows take more products with the same weights.
 * Order of a sum: k is dealt to 8 warps in parts of 128, warp w taking the parts w, w + 8, ...; a
 * warp adds its parts in order, 16 elements a product, and the sums of the warps are added in order.
 * Nothing in it depends on m, nor on how many rows and columns a block owns.
 *
 * A lane needs for its fragments just what it reads itself: elements (8q..8q+7) of a run of 32, q its
 * place among four lanes, serve two products of 16 elements of k in an order that both factors share.
 * So each lane copies its 16 bytes asynchronously into a queue of its own in shared memory, of
 * weights and of x, several steps ahead and across the borders of tiles; nobody waits for another
 * warp but at the end of a tile. Bytes of x read from L2 per byte of weights: m / rows of a tile.
 *
 * f32 activations: matmul's kernel, in which one thread adds up a sum in the order of k.
 */
#include "mma.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
/* Elements of k that four lanes hold, 16 bytes each. */
constexpr int kRun = 32;
/* Elements of k that a warp takes in turn, and all warps. The order of sums follows from them. */
constexpr int kPart = 128;
constexpr int64_t kTurn = static_cast<int64_t>(kPart) * kWarps;

struct Product {
  float* out;
  const bf16* x;
  const bf16* weight;
  int64_t m, n, k, x_stride, out_stride;
  int64_t tiles; /* of weight rows */
  bool accumulate;
};

/* How a block works; no bit of a result depends on it.
 * rows: 16 * kRowTiles weight rows; columns: 8 * kColumnTiles rows of x; a step: kRuns runs; line: bytes
 * that come to L2 with each 16 of a weight row. */
template <int row_tiles, int column_tiles, int runs, int stages, int resident, int line>
struct Shape {
  static constexpr int kLine = line;
  static constexpr int kRowTiles = row_tiles, kColumnTiles = column_tiles, kRuns = runs;
  static constexpr int kStages = stages, kResident = resident;
  static constexpr int kRows = 16 * row_tiles, kColumns = 8 * column_tiles;
  static constexpr int kSteps = kPart / (runs * kRun); /* of a part */
  /* Copies of 16 bytes per lane: of a run, and of a step. */
  static constexpr int kRunLoads = 2 * row_tiles + column_tiles;
  static constexpr int kLoads = runs * kRunLoads;
  static constexpr int kQueueBytes = kWarps * stages * kLoads * 512;
  static constexpr int kSharedBytes = kQueueBytes + kWarps * kColumns * 16 * 4;
  static_assert(kPart % (runs * kRun) == 0, "a part is whole steps");
};

/* Hopper's 227 KiB of shared memory. Measured on an H200 at the 8B shape, with all shapes of 1 to 8 row
 * tiles, 1 to 4 runs, 2 to 6 stages and 1 or 2 blocks that fit; the product of gate and up takes 63.5,
 * 63.9, 71.4 and 103 us with 8, 16, 32 and 64 rows of x. What matters most is that whole lines come to
 * L2: without it 67.7, 80.6, 88.7 and 110 us. */
template <int kColumns>
struct Deep;
template <>
struct Deep<8> : Shape<1, 1, 4, 3, 1, 256> {};
template <>
struct Deep<16> : Shape<2, 2, 1, 5, 1, 256> {};
template <>
struct Deep<32> : Shape<2, 4, 1, 4, 1, 128> {};
template <>
struct Deep<64> : Shape<3, 8, 1, 2, 1, 256> {};
/* The 99 KiB of every GPU from Ampere on. */
template <int kColumns>
struct Shallow;
template <>
struct Shallow<8> : Shape<1, 1, 2, 3, 2, 128> {};
template <>
struct Shallow<16> : Shape<2, 2, 1, 3, 2, 128> {};
template <>
struct Shallow<32> : Shape<2, 4, 1, 2, 2, 128> {};
constexpr int kDeepBytes = 227 << 10;
static_assert(Deep<8>::kSharedBytes <= kDeepBytes && Deep<16>::kSharedBytes <= kDeepBytes &&
                  Deep<32>::kSharedBytes <= kDeepBytes && Deep<64>::kSharedBytes <= kDeepBytes,
              "a block fits");
static_assert(Shallow<32>::kSharedBytes <= 99 << 10 && Shallow<8>::kSharedBytes <= 99 << 10, "");

/* Eight elements of a row from column `at` on, zeros behind its end at `k`, from any address. */
__device__ inline uint4 gather8(const bf16* row, int64_t at, int64_t k) {
  uint32_t words[4] = {0, 0, 0, 0};
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(row);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (at + i < k) words[i / 2] |= static_cast<uint32_t>(halves[at + i]) << (i % 2 * 16);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/* Fills a lane's queue: the steps of this warp in the block's first tile, then of its next ones.
 * kAligned: rows of x and weights begin at multiples of 16 bytes, and k is a multiple of 8. */
template <class S, bool kAligned>
class Loader {
 public:
  __device__ Loader(const Product& product, uint4* queue)
      : product_(product),
        queue_(queue),
        tile_(blockIdx.x),
        at_(first_part()),
        policy_(evict_first()) {
    begin_tile();
  }

  /* The next step goes to `stage`; behind the last one there is an empty group of copies. */
  __device__ void load(int stage) {
    if (tile_ < product_.tiles && first_part() < product_.k) {
      load_step(queue_ + stage * (S::kLoads * 32));
      advance();
    }
    commit_copies();
  }

 private:
  __device__ static int64_t first_part() { return static_cast<int64_t>(threadIdx.x / 32) * kPart; }

  __device__ void begin_tile() {
    row_ = tile_ * S::kRows + threadIdx.x % 32 / 4;
    weight_ = product_.weight + row_ * product_.k;
  }

  __device__ void advance() {
    at_ += S::kRuns * kRun;
    if (at_ % kPart != 0) return;
    at_ += kTurn - kPart;
    if (at_ < product_.k) return;
    at_ = first_part();
    tile_ += gridDim.x;
    begin_tile();
  }

  __device__ void load_step(uint4* slot) const {
    const int64_t column = at_ + threadIdx.x % 4 * 8;
#pragma unroll
    for (int run = 0; run < S::kRuns; run++) {
#pragma unroll
      for (int i = 0; i < 2 * S::kRowTiles; i++) {
        copy<true>(slot, weight_ + i * 8 * product_.k, column + run * kRun,
                   row_ + i * 8 < product_.n);
        slot += 32;
      }
#pragma unroll
      for (int j = 0; j < S::kColumnTiles; j++) {
        const int64_t i = j * 8 + threadIdx.x % 32 / 4;
        copy<false>(slot, product_.x + i * product_.x_stride, column + run * kRun, i < product_.m);
        slot += 32;
      }
    }
  }

  template <bool kWeight>
  __device__ void copy(uint4* to, const bf16* row, int64_t column, bool has_row) const {
    const bool valid = has_row && column < product_.k;
    if (!kAligned) {
      *to = valid ? gather8(row, column, product_.k) : make_uint4(0, 0, 0, 0);
    } else if (kWeight) {
      copy_stream16<S::kLine>(shared_address(to), valid ? row + column : product_.weight, valid,
                              policy_);
    } else {
      copy_async16(shared_address(to), valid ? row + column : product_.x, valid);
    }
  }

  const Product& product_;
  uint4* queue_; /* [kStages][kLoads], 32 apart */
  int64_t tile_, at_;
  uint64_t policy_;
  int64_t row_ = 0;
  const bf16* weight_ = nullptr;
};

template <class S>
using Sums = float[S::kRowTiles][S::kColumnTiles][4];

/* sums += the products of one step. */
template <class S>
__device__ inline void multiply(Sums<S>& sums, const uint4* slot) {
#pragma unroll
  for (int run = 0; run < S::kRuns; run++, slot += S::kRunLoads * 32) {
    uint4 weights[2 * S::kRowTiles];
#pragma unroll
    for (int i = 0; i < 2 * S::kRowTiles; i++) weights[i] = slot[i * 32];
#pragma unroll
    for (int j = 0; j < S::kColumnTiles; j++) {
      const uint4 x = slot[(2 * S::kRowTiles + j) * 32];
#pragma unroll
      for (int t = 0; t < S::kRowTiles; t++) {
        const uint4 &low = weights[2 * t], &high = weights[2 * t + 1];
        const uint32_t first[4] = {low.x, high.x, low.y, high.y};
        const uint32_t second[4] = {low.z, high.z, low.w, high.w};
        multiply_add(sums[t][j], first, x.x, x.y);
        multiply_add(sums[t][j], second, x.z, x.w);
      }
    }
  }
}

/* Adds the warps' sums up in order, 16 weight rows at a time; parts [kWarps][kColumns][16], the
 * halves of a column's rows being swapped for every second pair of columns, against bank conflicts. */
template <class S>
__device__ inline void finish_tile(const Product& product, const Sums<S>& sums, float* parts,
                                   int64_t first_row) {
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
      float* out = product.out + column * product.out_stride + j;
      *out = product.accumulate ? *out + sum : sum;
    }
  }
}

template <class S, bool kAligned>
__global__ void __launch_bounds__(kThreads, S::kResident)
    matmul_rows_kernel(const __grid_constant__ Product product) {
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint4* queue = shared + warp * (S::kStages * S::kLoads * 32) + lane;
  float* parts = reinterpret_cast<float*>(shared) + S::kQueueBytes / 4;
  Loader<S, kAligned> loader(product, queue);
#pragma unroll
  for (int stage = 0; stage + 1 < S::kStages; stage++) loader.load(stage);
  int stage = 0;
  for (int64_t tile = blockIdx.x; tile < product.tiles; tile += gridDim.x) {
    Sums<S> sums = {};
    for (int64_t at = static_cast<int64_t>(warp) * kPart; at < product.k; at += kTurn) {
      for (int step = 0; step < S::kSteps; step++) {
        /* The place of the step before is free: its elements were multiplied already. */
        loader.load(stage == 0 ? S::kStages - 1 : stage - 1);
        wait_copies<S::kStages - 1>();
        multiply<S>(sums, queue + stage * (S::kLoads * 32));
        stage = stage + 1 == S::kStages ? 0 : stage + 1;
      }
    }
    finish_tile<S>(product, sums, parts, tile * S::kRows);
  }
}

template <class S>
sx_status launch(Context& context, Product product) {
  const char* op = "multiply rows";
  product.tiles = ceil_div(product.n, S::kRows);
  const bool aligned = is_aligned(product.x) && is_aligned(product.weight) &&
                       (product.x_stride | product.k) % 8 == 0;
  auto kernel = aligned ? matmul_rows_kernel<S, true> : matmul_rows_kernel<S, false>;
  SX_RETURN_IF_BAD(allow_shared(context, op, kernel, S::kSharedBytes));
  const int64_t blocks = min64(product.tiles, context.multiprocessors * S::kResident);
  kernel<<<static_cast<unsigned>(blocks), kThreads, S::kSharedBytes, context.stream>>>(product);
  return launched(context, op);
}

/* The rows of one pass over the weights: at most 64, or 32 with little shared memory. */
sx_status run_pass(Context& context, const Product& product, bool deep) {
  if (product.m <= 8) {
    return deep ? launch<Deep<8>>(context, product) : launch<Shallow<8>>(context, product);
  }
  if (product.m <= 16) {
    return deep ? launch<Deep<16>>(context, product) : launch<Shallow<16>>(context, product);
  }
  if (product.m <= 32) {
    return deep ? launch<Deep<32>>(context, product) : launch<Shallow<32>>(context, product);
  }
  return launch<Deep<64>>(context, product);
}

}  // namespace

sx_status matmul_rows(Context& context, const sx_matmul_rows_params& params) {
  const sx_matmul_params& args = params.product;
  if (args.m == 0 || args.n == 0) return SX_OK;
  if (args.x_dtype == SX_F32) return matmul(context, args);
  int shared_bytes = 0;
  const cudaError_t error = cudaDeviceGetAttribute(
      &shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, context.device);
  if (error != cudaSuccess) return device_failure(context, "multiply rows", error);
  const bool deep = shared_bytes >= kDeepBytes;
  const int64_t most = deep ? 64 : 32;
  for (int64_t first = 0; first < args.m; first += most) {
    const Product product = {args.out + first * args.out_stride,
                             static_cast<const bf16*>(args.x) + first * args.x_stride,
                             static_cast<const bf16*>(args.weight),
                             min64(most, args.m - first),
                             args.n,
                             args.k,
                             args.x_stride,
                             args.out_stride,
                             0,
                             args.accumulate == 1};
    SX_RETURN_IF_BAD(run_pass(context, product, deep));
  }
  return SX_OK;
}

}  // namespace cuda
}  // namespace sx
