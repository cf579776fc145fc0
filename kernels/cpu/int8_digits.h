/*
 * The rows of x as products with weights of 8 bits take them: a first digit of every row, and behind
 * them a second one of those rows that have one (see sx_matmul in ../sx_kernels.h).
 */
#ifndef SX_CPU_INT8_DIGITS_H
#define SX_CPU_INT8_DIGITS_H

#include <type_traits>

#include "int8_rows.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

/* What is known of each row of digits; there are m to 2 * m. */
struct DigitRows {
  int64_t* targets; /* the row of x, and of out */
  float* scales;
  int32_t* offsets; /* what 128 more in each weight adds to a sum */
  float* inverses;  /* [m] */
  uint8_t* second;  /* [m]: whether a row has a second digit */

  static int64_t bytes(int64_t m) { return round_up(2 * m * 16 + m * 5, 64); }

  DigitRows(char* memory, int64_t m)
      : targets(reinterpret_cast<int64_t*>(memory)),
        scales(reinterpret_cast<float*>(targets + 2 * m)),
        offsets(reinterpret_cast<int32_t*>(scales + 2 * m)),
        inverses(reinterpret_cast<float*>(offsets + 2 * m)),
        second(reinterpret_cast<uint8_t*>(inverses + m)) {}

  /* Rounds all rows; returns how many rows of digits there are. write(second, row, x, scale) puts the
   * digits of x where row number `row` lies and returns their sums. */
  template <class In, class Write>
  int64_t fill(Context& context, const sx_matmul_params& args, const Write& write) const {
    const auto x_of = [&](int64_t i) { return static_cast<const In*>(args.x) + i * args.x_stride; };
    const int64_t grain = row_grain(args.k * 6);
    parallel_for(context, args.m, grain, [&](int64_t begin, int64_t end, int32_t) {
      for (int64_t i = begin; i < end; i++) {
        const RowScale scale = scale_of_row(x_of(i), args.k);
        const DigitSums sums = write(std::false_type(), i, x_of(i), scale);
        set(i, i, scale.scale, sums.sum);
        inverses[i] = scale.inverse;
        second[i] = has_second_digit(scale, sums.squares, args.k);
      }
    });
    int64_t rows = args.m;
    for (int64_t i = 0; i < args.m; i++) {
      if (second[i] != 0) targets[rows++] = i;
    }
    parallel_for(context, rows - args.m, grain, [&](int64_t begin, int64_t end, int32_t) {
      for (int64_t row = args.m + begin; row < args.m + end; row++) {
        const int64_t i = targets[row];
        const RowScale scale = {scales[i], inverses[i]};
        const DigitSums sums = write(std::true_type(), row, x_of(i), scale);
        set(row, i, scale.scale / kDigit, sums.sum);
      }
    });
    return rows;
  }

 private:
  void set(int64_t row, int64_t target, float scale, int32_t sum) const {
    targets[row] = target;
    scales[row] = scale;
    offsets[row] = 128 * sum;
  }
};

}  // namespace SX_ISA
}  // namespace sx

#endif
