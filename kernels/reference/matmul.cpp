/* Scalar twin of matmul; sums in double precision, those of whole numbers in 64 bits. */
#include "../cpu/narrowed.h"
#include "int8_values.h"
#include "values.h"

namespace sx {
namespace scalar {

namespace {

void multiply_int8(const sx_matmul_params& args) {
  const int64_t depth = panel_depth(args.k);
  const uint8_t* weight = static_cast<const uint8_t*>(args.weight);
  for (int64_t i = 0; i < args.m; i++) {
    std::vector<float> row(static_cast<size_t>(args.k));
    for (int64_t l = 0; l < args.k; l++) {
      row[l] = read_element(args.x, args.x_dtype, i * args.x_stride + l);
    }
    const RoundedRow rounded = round_row(row);
    for (int64_t j = 0; j < args.n; j++) {
      const auto sum = [&](const std::vector<int8_t>& numbers) {
        int64_t total = 0;
        for (size_t l = 0; l < numbers.size(); l++) {
          const int64_t at = panel_index(j, static_cast<int64_t>(l), depth);
          total += numbers[l] * (weight[at] - 128);
        }
        return static_cast<float>(total);
      };
      float* out = sums_of(args) + i * args.out_stride + j;
      const float first = sum(rounded.first), both = rounded.scale * args.weight_scales[j];
      *out = args.accumulate ? std::fma(first, both, *out) : first * both;
      if (rounded.second.empty()) continue;
      const float small = rounded.scale / 128.0f * args.weight_scales[j];
      *out = std::fma(sum(rounded.second), small, *out);
    }
  }
}

}  // namespace

sx_status matmul(Context& context, const sx_matmul_params& args) {
  if (args.out_dtype == SX_BF16) return narrowed(context, args, matmul);
  if (args.weight_dtype == SX_I8) {
    multiply_int8(args);
    return SX_OK;
  }
  for (int64_t i = 0; i < args.m; i++) {
    for (int64_t j = 0; j < args.n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < args.k; l++) {
        sum += static_cast<double>(read_element(args.x, args.x_dtype, i * args.x_stride + l)) *
               read_element(args.weight, args.weight_dtype, j * args.k + l);
      }
      if (args.x_scales != nullptr) sum *= args.x_scales[i];
      if (args.weight_scales != nullptr) sum *= args.weight_scales[j];
      float* out = sums_of(args) + i * args.out_stride + j;
      *out = static_cast<float>(args.accumulate ? *out + sum : sum);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
