/* Scalar twin of quantize: the numbers themselves, and where a panel has them. */
#include <cmath>

#include "int8_values.h"
#include "values.h"

namespace sx {
namespace scalar {

sx_status quantize(Context&, const sx_quantize_params& args) {
  const int64_t depth = panel_depth(args.k);
  uint8_t* out = static_cast<uint8_t*>(args.out);
  for (int64_t j = 0; j < round_up(args.n, kPanelRows); j++) {
    const bool is_there = j < args.n;
    std::vector<int8_t> numbers(static_cast<size_t>(depth));
    if (is_there && args.in_dtype == SX_I8) {
      const int8_t* row = static_cast<const int8_t*>(args.in) + j * args.k;
      for (int64_t l = 0; l < args.k; l++) numbers[l] = row[l];
    } else if (is_there) {
      std::vector<float> row(static_cast<size_t>(args.k));
      for (int64_t l = 0; l < args.k; l++) {
        row[l] = read_float(args.in, args.in_dtype, j * args.k + l);
      }
      const RoundedRow rounded = round_row(row);
      args.scales[j] = rounded.scale;
      for (int64_t l = 0; l < args.k; l++) numbers[l] = rounded.first[l];
    }
    for (int64_t l = 0; l < depth; l++) {
      out[panel_index(j, l, depth)] = static_cast<uint8_t>(numbers[l] + 128);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
