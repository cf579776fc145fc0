/*
 * Linear layers with weights of e4m3 and x of bf16 (see sx_matmul in ../sx_kernels.h): out[i,j] (+)= (sum
 * over l of x[i,l] * weight[j,l]) * weight_scales[j], with one order of every sum whatever the number of
 * rows. x is not rounded: few rows are bound by memory, n*k bytes, and have nothing to gain by it.
 *
 * The kernel of matmul_rows.cuh; its shapes are here. Widening takes 2 instructions an element of a
 * lane's weights.
 */
#include "matmul_rows_split.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

using rows::kDeepBytes;
using rows::keeps;
using rows::kShallowBytes;
using rows::launch;
using rows::launch_split_or;
using rows::Shape;
using rows::Split;

/* Shapes by the columns that a block owns, which are rows of x.
 * Hopper's 227 KiB of shared memory. Measured on an H200 at the 8B shape, kernels behind each other, the
 * products of queries, keys and values, output, gate and up, and down in us: with one row 8.5, 6.9, 29.1
 * and 16.8, and 10.1, 7.0, 41.4 and 18.4 with x in the queues; with 16 rows 14.8, 10.8, 37.1 and, by way of
 * the queues, 39.8.
 * Discarded, the same four: with one row 3 row tiles (8.5, 7.4, 31.9, 21.4), 1 (8.6, 6.7, 29.8, 16.4) and
 * two smaller blocks a multiprocessor (8.8, 7.4, 32.7, 23.2); with 16 rows in the queues 2 row tiles (28.7,
 * 17.4, 97.2, 52.6), 6 and 8 (17.0, 15.2, 63.3, 42.6; 18.6, 17.4, 53.9, 47.2); with 32 rows 2 and 4 row
 * tiles (43.2, 28.4, 152.3, 80.6; 31.6, 20.7, 104.2, 58.6), for 24.2, 22.1, 88.9 and 65.2 with 6; with 64
 * rows 3 (46.1, 45.0, 194.4, 144.9), for 48.4, 33.2, 168.9 and 94.5 with 4. */
template <int kColumns>
struct Deep;
template <>
struct Deep<8> : Shape<e4m3, 2, 1, 2, 4, 1, 256> {};
template <>
struct Deep<16> : Shape<e4m3, 4, 2, 1, 4, 1, 256> {};
template <>
struct Deep<32> : Shape<e4m3, 6, 4, 1, 2, 1, 256> {};
template <>
struct Deep<64> : Shape<e4m3, 4, 8, 1, 2, 1, 256> {};
/* Those that keep x, where it has room beside the queues. */
template <int kColumns>
struct Kept;
template <>
struct Kept<8> : Shape<e4m3, 2, 1, 2, 4, 1, 256, true> {};
template <>
struct Kept<16> : Shape<e4m3, 2, 2, 1, 5, 1, 256, true> {};
/* Those that split a product, and those that share out some matrices more evenly. Measured as above: with 8
 * rows down takes 21.4 us, with 16 24.3; with 17, 32, 48 and 64 rows the four take 14.1, 10.9, 49.4 and
 * 25.5; 16.0, 13.0, 49.1 and 31.3; 20.8, 15.1, 63.6 and 39.2; 23.9, 17.8, 72.7 and 44.7.
 * Discarded: sums that are finished at once (32 rows: 21.3, 13.9, 62.8, 32.3), or by four warps of their own
 * (20.4, 15.1, 47.1, 31.7; 64 rows: 24.4, 23.7, 75.4, 64.8); 64 rows in clusters of 4, which have no room
 * for sums (35.7, 20.6, 86.2, 49.2). */
template <int kColumns>
struct Parted;
template <>
struct Parted<8> : Split<e4m3, 2, 8, 2, 1, 2, 4> {};
template <>
struct Parted<16> : Split<e4m3, 2, 8, 2, 2, 2, 3> {};
template <>
struct Parted<24> : Split<e4m3, 2, 8, 2, 3, 1, 5> {};
template <>
struct Parted<32> : Split<e4m3, 2, 16, 1, 4, 2, 2> {};
template <>
struct Parted<48> : Split<e4m3, 8, 8, 3, 6, 1, 3> {};
template <>
struct Parted<64> : Split<e4m3, 8, 8, 3, 8, 1, 2> {};
template <int kColumns>
struct Even;
template <>
struct Even<24> : Split<e4m3, 2, 8, 3, 3, 1, 3> {};
template <>
struct Even<32> : Split<e4m3, 2, 8, 3, 4, 1, 2> {};
template <>
struct Even<48> : Split<e4m3, 4, 8, 2, 6, 1, 5> {};
template <>
struct Even<64> : Split<e4m3, 8, 8, 2, 8, 1, 5> {};
static_assert(Deep<8>::kSharedBytes <= kDeepBytes && Deep<16>::kSharedBytes <= kDeepBytes &&
                  Deep<32>::kSharedBytes <= kDeepBytes && Deep<64>::kSharedBytes <= kDeepBytes,
              "a block fits");
/* The 99 KiB of every GPU from Ampere on: a block owns many or few rows of weights; many read x less often,
 * few share out a small matrix more evenly. */
template <int kColumns, bool kMany>
struct Shallow;
template <>
struct Shallow<8, true> : Shape<e4m3, 2, 1, 1, 3, 1, 128> {};
template <>
struct Shallow<8, false> : Shape<e4m3, 1, 1, 1, 5, 1, 128> {};
template <>
struct Shallow<16, true> : Shape<e4m3, 2, 2, 1, 2, 1, 128> {};
template <>
struct Shallow<16, false> : Shape<e4m3, 1, 2, 1, 3, 1, 128> {};
template <>
struct Shallow<32, true> : Shape<e4m3, 1, 4, 1, 2, 1, 128> {};
template <>
struct Shallow<32, false> : Shape<e4m3, 1, 4, 1, 2, 1, 128> {};

/* The rows of weights that the busiest block gets. */
template <class S>
int64_t most_rows(const Context& context, int64_t n) {
  return ceil_div(ceil_div(n, S::kRows), context.multiprocessors) * S::kRows;
}

template <int kColumns>
sx_status launch_shallow(Context& context, const rows::Product<e4m3>& product) {
  using Many = Shallow<kColumns, true>;
  using Few = Shallow<kColumns, false>;
  static_assert(Many::kSharedBytes <= kShallowBytes && Few::kSharedBytes <= kShallowBytes,
                "a block fits");
  const bool few = most_rows<Few>(context, product.n) < most_rows<Many>(context, product.n);
  return few ? launch<Few>(context, product) : launch<Many>(context, product);
}

/* The rows of one pass over the weights: at most 64, or 32 with little shared memory. */
sx_status run_pass(Context& context, const rows::Product<e4m3>& product, bool deep) {
  const int64_t m = product.m;
  if (!deep) {
    if (m <= 8) return launch_shallow<8>(context, product);
    return m <= 16 ? launch_shallow<16>(context, product) : launch_shallow<32>(context, product);
  }
  if (m <= 8 && keeps<Kept<8>>(product)) return launch<Kept<8>>(context, product);
  if (m <= 8) return launch_split_or<Parted<8>, Parted<8>, Deep<8>>(context, product);
  if (m <= 16 && keeps<Kept<16>>(product)) return launch<Kept<16>>(context, product);
  if (m <= 16) return launch_split_or<Parted<16>, Parted<16>, Deep<16>>(context, product);
  if (m <= 24) return launch_split_or<Parted<24>, Even<24>, Deep<32>>(context, product);
  if (m <= 32) return launch_split_or<Parted<32>, Even<32>, Deep<32>>(context, product);
  if (m <= 48) return launch_split_or<Parted<48>, Even<48>, Deep<64>>(context, product);
  return launch_split_or<Parted<64>, Even<64>, Deep<64>>(context, product);
}

}  // namespace

sx_status matmul_rows_f8(Context& context, const sx_matmul_params& args) {
  return rows::run_passes<e4m3>(context, args, [&](const rows::Product<e4m3>& product, bool deep) {
    return run_pass(context, product, deep);
  });
}

}  // namespace cuda
}  // namespace sx
