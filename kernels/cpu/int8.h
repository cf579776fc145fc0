/*
 * What products with weights of 8 bits share (see sx_quantize and sx_matmul in ../sx_kernels.h): how a
 * row is rounded, and how a sum becomes an output.
 *
 * Sums of products are whole numbers in 32 bits, so that every order of them gives the same bits; what
 * is rounded, is rounded by one instruction alike on every processor: a division, a product, a
 * conversion, and one fused product and sum.
 */
#ifndef SX_CPU_INT8_H
#define SX_CPU_INT8_H

#include "common.h"

namespace sx {

constexpr int64_t kPanelRows = SX_PANEL_ROWS;
constexpr int64_t kPanelDepth = SX_PANEL_DEPTH;
/* A panel has 4 elements of depth of all its rows side by side. */
constexpr int64_t kQuad = 4;
constexpr int64_t kQuadBytes = kPanelRows * kQuad;

SX_INLINE int64_t panel_depth(int64_t k) { return round_up(k, kPanelDepth); }
SX_INLINE int64_t panel_bytes(int64_t k) { return kPanelRows * panel_depth(k); }

/* How the numbers of a row are rounded. */
struct RowScale {
  float scale;   /* what one step of the 8 bits is worth */
  float inverse; /* its inverse; 0 if all numbers become 0 */
};

/* Of the bits of a row's largest magnitude: what is not finite has bits above all others. */
SX_INLINE RowScale row_scale(uint32_t largest_bits) {
  constexpr uint32_t kInfinity = 0x7f800000u, kNan = 0x7fc00000u;
  if (largest_bits >= kInfinity) return {bits_float(kNan), 0};
  const float largest = bits_float(largest_bits);
  if (largest < 0x1p-100f) return {0, 0};
  return {largest / 127.0f, 127.0f / largest};
}

/* What a step of the first digit is in steps of the second one. */
constexpr float kDigit = 128;

/* Whether a row has a second digit. */
SX_INLINE bool has_second_digit(RowScale scale, int64_t squares, int64_t k) {
  return scale.inverse != 0 && squares < SX_SECOND_DIGIT * k;
}

/* Products by what a processor has within an instruction set; context.cpp chooses. */
#define SX_DECLARE_PRODUCT(isa_namespace)                                      \
  namespace isa_namespace {                                                    \
  sx_status int8_product(::sx_context& context, const sx_matmul_params& args); \
  }
SX_DECLARE_PRODUCT(avx2)
SX_DECLARE_PRODUCT(avx2_vnni)
SX_DECLARE_PRODUCT(avx512)
SX_DECLARE_PRODUCT(avx512_vnni)
SX_DECLARE_PRODUCT(avx512_bf16)
SX_DECLARE_PRODUCT(amx_bf16)
#undef SX_DECLARE_PRODUCT

}  // namespace sx

#endif
