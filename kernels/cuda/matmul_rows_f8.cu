/*
 * Linear layers with weights of e4m3 and x of bf16 (see sx_matmul in ../sx_kernels.h): out[i,j] (+)= (sum
 * over l of x[i,l] * weight[j,l]) * weight_scales[j], with one order of every sum whatever the number of
 * rows. x is not rounded: few rows are bound by memory, n*k bytes, and have nothing to gain by it.
 *
 * The kernel of matmul_rows.cuh; its shapes are here. Widening takes 2 instructions an element of a
 * lane's weights, a third of what the multiprocessors issue while memory delivers them.
 */
#include "matmul_rows.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

using rows::kDeepBytes;
using rows::kShallowBytes;
using rows::launch;
using rows::Shape;

/* Shapes by the columns that a block owns, which are rows of x, and whether it owns many or few rows of
 * weights: many read x less often, few share out a small matrix more evenly. */
/* Hopper's 227 KiB of shared memory. */
template <int kColumns, bool kMany>
struct Deep;
template <>
struct Deep<8, true> : Shape<e4m3, 2, 1, 2, 4, 1, 256> {};
template <>
struct Deep<8, false> : Shape<e4m3, 1, 1, 4, 3, 1, 256> {};
template <>
struct Deep<16, true> : Shape<e4m3, 4, 2, 1, 4, 1, 256> {};
template <>
struct Deep<16, false> : Shape<e4m3, 4, 2, 1, 4, 1, 256> {};
template <>
struct Deep<32, true> : Shape<e4m3, 2, 4, 1, 4, 1, 256> {};
template <>
struct Deep<32, false> : Shape<e4m3, 1, 4, 1, 5, 1, 256> {};
template <>
struct Deep<64, true> : Shape<e4m3, 3, 8, 1, 2, 1, 256> {};
template <>
struct Deep<64, false> : Shape<e4m3, 2, 8, 1, 2, 1, 256> {};
/* Up to 16 rows of x, where they have room beside the queues. */
template <int kColumns, bool kMany>
struct Kept;
template <>
struct Kept<8, true> : Shape<e4m3, 3, 1, 1, 5, 1, 256, true> {};
template <>
struct Kept<8, false> : Shape<e4m3, 2, 1, 2, 4, 1, 256, true> {};
template <>
struct Kept<16, true> : Shape<e4m3, 3, 2, 1, 3, 1, 256, true> {};
template <>
struct Kept<16, false> : Shape<e4m3, 2, 2, 1, 5, 1, 256, true> {};
/* The 99 KiB of every GPU from Ampere on. */
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

template <class Many, class Few, int kSharedBytes>
sx_status launch_either(Context& context, const rows::Product<e4m3>& product) {
  static_assert(Many::kSharedBytes <= kSharedBytes && Few::kSharedBytes <= kSharedBytes,
                "a block fits");
  const bool few = most_rows<Few>(context, product.n) < most_rows<Many>(context, product.n);
  return few ? launch<Few>(context, product) : launch<Many>(context, product);
}

/* The rows of one pass over the weights: at most 64, or 32 with little shared memory. */
template <int kColumns>
sx_status launch_pass(Context& context, const rows::Product<e4m3>& product, bool deep) {
  constexpr int kShallow = kColumns < 32 ? kColumns : 32;
  return deep ? launch_either<Deep<kColumns, true>, Deep<kColumns, false>, kDeepBytes>(context,
                                                                                       product)
              : launch_either<Shallow<kShallow, true>, Shallow<kShallow, false>, kShallowBytes>(
                    context, product);
}

template <int kColumns>
bool fits_kept(const rows::Product<e4m3>& product) {
  return product.m <= kColumns && rows::fits_kept<Kept<kColumns, true>>(product, kDeepBytes) &&
         rows::fits_kept<Kept<kColumns, false>>(product, kDeepBytes);
}

sx_status run_pass(Context& context, const rows::Product<e4m3>& product, bool deep) {
  if (deep && fits_kept<8>(product)) {
    return launch_either<Kept<8, true>, Kept<8, false>, kDeepBytes>(context, product);
  }
  if (deep && fits_kept<16>(product)) {
    return launch_either<Kept<16, true>, Kept<16, false>, kDeepBytes>(context, product);
  }
  if (product.m <= 8) return launch_pass<8>(context, product, deep);
  if (product.m <= 16) return launch_pass<16>(context, product, deep);
  if (product.m <= 32) return launch_pass<32>(context, product, deep);
  return launch_pass<64>(context, product, deep);
}

}  // namespace

sx_status matmul_rows_f8(Context& context, const sx_matmul_params& args) {
  return rows::run_passes<e4m3>(context, args, [&](const rows::Product<e4m3>& product, bool deep) {
    return run_pass(context, product, deep);
  });
}

}  // namespace cuda
}  // namespace sx
