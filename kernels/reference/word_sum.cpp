/* Scalar twin of word_sum. */
#include <string.h>

#include "../cpu/ops.h"

namespace sx {
namespace scalar {

sx_status word_sum(Context&, const sx_word_sum_params& args) {
  uint32_t sum = 0;
  for (int64_t at = 0; at < args.bytes; at += 4) {
    uint32_t word;
    memcpy(&word, static_cast<const char*>(args.in) + at, sizeof word);
    sum += word;
  }
  *args.out = static_cast<int32_t>(sum);
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
