/*
 * Linear layers for the rows of a decode step (see sx_matmul_rows in ../sx_kernels.h): out[i,j] (+)=
 * sum over l of x[i,l] * weight[j,l], with one order of every sum whatever the number of rows.
 *
 * bf16 by bf16: the kernel of matmul_rows.cuh, bound by memory: 2*n*k bytes; its shapes are here.
 * Weights of e4m3: matmul_rows_f8.cu.
 * f32 activations: matmul's kernel, in which one thread adds up a sum in the order of k.
 */
#include "matmul_rows.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

using rows::kDeepBytes;
using rows::keeps;
using rows::kShallowBytes;
using rows::launch;
using rows::Shape;

/* Hopper's 227 KiB of shared memory. Measured on an H200 at the 8B shape, with all shapes of 1 to 8 row
 * tiles, 1 to 4 runs, 2 to 6 stages and 1 or 2 blocks that fit; the product of gate and up takes 63.5,
 * 63.1, 69.5, 84.6 and 97.7 us with 8, 16, 32, 48 and 64 rows of x. What matters most is that whole lines
 * come to L2: without it 67.7, 80.6, 88.7 and, with 64 rows, 110 us (of 63.5, 63.9, 71.4 and 103).
 * Discarded: clusters that share out k, as with weights of e4m3 (matmul_rows_split.cuh): 73.9 and 105 us with
 * 32 and 64 rows.
 * With x in shared memory, kernels behind each other, the products of queries, keys and values, output,
 * gate and up, down and head take, with one row, 12.7, 8.7, 55.3, 28.7 and 241 us; with x in the queues 13.0,
 * 8.9, 59.9, 29.4 and 265. Discarded: 4 runs a step (12.5, 8.5, 58.1, 29.7 and 256), 2 row tiles (14.4, 9.6,
 * 57.1, 28.7 and 245) and two smaller blocks a multiprocessor (14.5, 9.5, 57.4, 29.5 and 245); with 16 rows, of
 * which down has no room, 16.5, 12.2, 61.3 and 255 instead of 16.6, 10.2, 62.7 and 272. */
template <int kColumns>
struct Deep;
template <>
struct Deep<8> : Shape<bf16, 1, 1, 4, 3, 1, 256> {};
template <>
struct Deep<16> : Shape<bf16, 2, 2, 1, 5, 1, 256> {};
template <>
struct Deep<32> : Shape<bf16, 2, 4, 1, 4, 1, 128> {};
template <>
struct Deep<48> : Shape<bf16, 3, 6, 1, 3, 1, 256> {};
template <>
struct Deep<64> : Shape<bf16, 3, 8, 1, 3, 1, 256> {};
/* Of up to 8 rows, where x has room beside the queues. */
struct Kept : Shape<bf16, 1, 1, 2, 8, 1, 256, true> {};
/* The 99 KiB of every GPU from Ampere on. */
template <int kColumns>
struct Shallow;
template <>
struct Shallow<8> : Shape<bf16, 1, 1, 2, 3, 2, 128> {};
template <>
struct Shallow<16> : Shape<bf16, 2, 2, 1, 3, 2, 128> {};
template <>
struct Shallow<32> : Shape<bf16, 2, 4, 1, 2, 2, 128> {};
static_assert(Deep<8>::kSharedBytes <= kDeepBytes && Deep<16>::kSharedBytes <= kDeepBytes &&
                  Deep<32>::kSharedBytes <= kDeepBytes && Deep<48>::kSharedBytes <= kDeepBytes &&
                  Deep<64>::kSharedBytes <= kDeepBytes,
              "a block fits");
static_assert(Shallow<32>::kSharedBytes <= kShallowBytes &&
                  Shallow<8>::kSharedBytes <= kShallowBytes,
              "");

sx_status run_pass(Context& context, const rows::Product<bf16>& product, bool deep) {
  if (product.m <= 8) {
    if (!deep) return launch<Shallow<8>>(context, product);
    return keeps<Kept>(product) ? launch<Kept>(context, product)
                                : launch<Deep<8>>(context, product);
  }
  if (product.m <= 16) {
    return deep ? launch<Deep<16>>(context, product) : launch<Shallow<16>>(context, product);
  }
  if (product.m <= 32) {
    return deep ? launch<Deep<32>>(context, product) : launch<Shallow<32>>(context, product);
  }
  return product.m <= 48 ? launch<Deep<48>>(context, product) : launch<Deep<64>>(context, product);
}

}  // namespace

sx_status matmul_rows(Context& context, const sx_matmul_rows_params& params) {
  const sx_matmul_params& args = params.product;
  if (args.m == 0 || args.n == 0) return SX_OK;
  if (args.x_dtype == SX_F32) return matmul(context, args);
  if (args.weight_dtype == SX_F8E4M3) return matmul_rows_f8(context, args);
  return rows::run_passes<bf16>(context, args, [&](const rows::Product<bf16>& product, bool deep) {
    return run_pass(context, product, deep);
  });
}

}  // namespace cuda
}  // namespace sx
