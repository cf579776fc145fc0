/*
 * Scalar twin of key_codes: number after number, by the same single f32 operations as every backend, so
 * that codes are the same bits.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

int32_t code_of(float distance, float edge) {
  if (distance < -edge) return 0;
  if (distance < 0) return 1;
  return distance < edge ? 2 : 3;
}

}  // namespace

sx_status key_codes(Context&, const sx_key_codes_params& args) {
  const int64_t words = args.head_dim / 16;
  for (int64_t g = 0; g < args.kv_heads; g++) {
    for (int64_t c = args.first_tile; c < args.first_tile + args.tile_count; c++) {
      int32_t* codes = args.codes + g * args.code_head_stride + c * SX_TILE * words;
      for (int64_t i = 0; i < SX_TILE * words; i++) codes[i] = 0;
      for (int64_t d = 0; d < args.head_dim; d++) {
        const int64_t at = g * args.mean_head_stride + c * args.head_dim + d;
        const int64_t first = g * args.head_stride + c * SX_TILE * args.token_stride + d;
        const float mean = read_element(args.mean_keys, args.mean_dtype, at);
        float sum = 0;
        for (int64_t j = 0; j < SX_TILE; j++) {
          sum += std::fabs(read_element(args.keys, args.kv_dtype, first + j * args.token_stride) -
                           mean);
        }
        write_element(args.spread, args.mean_dtype, at, sum / SX_TILE);
        const float edge = SX_CODE_EDGE * read_element(args.spread, args.mean_dtype, at);
        for (int64_t j = 0; j < SX_TILE; j++) {
          const float key = read_element(args.keys, args.kv_dtype, first + j * args.token_stride);
          const uint32_t code = static_cast<uint32_t>(code_of(key - mean, edge));
          codes[j * words + d / 16] |= static_cast<int32_t>(code << (2 * (d % 16)));
        }
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
