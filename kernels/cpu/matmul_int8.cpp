/*
 * Products with weights of 8 bits (see sx_matmul in ../sx_kernels.h), many rows and few.
 *
 * x is rounded first: a row of digits for each of its rows, or two. A task takes some panels of 16
 * columns. A panel, or two, comes from memory once, in the order in which it lies and asked for 8 KiB
 * ahead, meets the first rows of x, and waits in L2 for the others, a tile of registers at a time over
 * the whole depth. With a few rows (decode) that is bound by memory: n*k bytes, half of what bf16 takes.
 * With AMX matmul_int8_tiles.h multiplies more rows than a few.
 * Discarded: slabs of depth in L1, widened to 16 bits or as they lie, whose sums wait for the next slab:
 * 110 instead of 150 GFLOP/s on a core with AVX2, as each tile of rows is short then.
 * Sums are whole numbers: no order of them, no set and no number of rows or threads changes a bit.
 */
#include "int8_digits.h"
#include "int8_dots.h"
#include "matmul_int8_tiles.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

#ifdef SX_HAS_VNNI
using Dots = Vnni;
#else
using Dots = Pairs;
#endif
/* Up to so many rows a panel is multiplied alone: it comes from memory more slowly than from L2. */
constexpr int64_t kFewInt8Rows = 8;
/* One or two rows read so many panels at once, each a stream of its own: a core then has more loads
 * under way, 17 to 20 instead of 11 to 13 GB/s with AVX2 on a Zen 3 that others used, too, and with
 * AVX-512 four of them, asked for into L1: 8 % less time than two into L2 on two cores of a Zen 5. */
constexpr int kPanelsAtOnce = kLanes == 16 ? 4 : 2;
constexpr int kRowsAtOnce = 2;

/* A thread takes up to so many bytes of weights at a time, as in matmul_rows.cpp. */
constexpr int64_t kInt8ChunkBytes = 1 << 22;

/* x as it is multiplied. */
struct RoundedRows {
  const DigitRows& digits;
  Dots::X* numbers; /* [rows, stride], zeros behind k */
  int64_t stride, rows;
};

template <class In>
int64_t round_rows(Context& context, const sx_matmul_params& args, const DigitRows& digits,
                   Dots::X* numbers) {
  const int64_t stride = panel_depth(args.k);
  const auto write = [&](auto second, int64_t row, const In* x, RowScale scale) {
    Dots::X* out = numbers + row * stride;
    for (int64_t l = args.k; l < stride; l++) out[l] = 0;
    return quantize_numbers<decltype(second)::value>(out, x, args.k, scale);
  };
  return digits.fill<In>(context, args, write);
}

class Product {
 public:
  Product(const sx_matmul_params& args, const RoundedRows& rows)
      : args_(args),
        rows_(rows),
        panel_bytes_(panel_bytes(args.k)),
        quads_(rows.stride / kQuad),
        is_streamed_(is_streamed(args)) {}

  /* All rows, R at once, by P panels from `panel` on. */
  template <int P, int R = Dots::kRows>
  void multiply(int64_t panel) const {
    alignas(64) int32_t sums[P * R * Dots::kSums];
    for (int64_t i = 0; i < rows_.rows; i += R) {
      const DotTile<Dots> tile = {panel_at(panel), panel_bytes_, row_at(i),      rows_.stride,
                                  quads_,          sums,         R * Dots::kSums};
      const int64_t rows = min64(R, rows_.rows - i);
      if (i == 0) {
        multiply_row_dots<Dots, R, P, true>(tile, rows);
      } else {
        multiply_row_dots<Dots, R, P, false>(tile, rows);
      }
      for (int64_t p = 0; p < P; p++) {
        write_panel(sums + p * R * Dots::kSums, panel + p, i, rows);
      }
    }
  }

  void multiply_all(int64_t begin, int64_t end) const {
    int64_t panel = begin;
    if (rows_.rows > kFewInt8Rows) {
      for (; panel + Dots::kPanels <= end; panel += Dots::kPanels) multiply<Dots::kPanels>(panel);
    }
    if (rows_.rows <= kRowsAtOnce) {
      for (; panel + kPanelsAtOnce <= end; panel += kPanelsAtOnce)
        multiply<kPanelsAtOnce, kRowsAtOnce>(panel);
    }
    for (; panel < end; panel++) multiply<1>(panel);
    if (is_streamed_) end_stream();
  }

 private:
  const uint8_t* panel_at(int64_t panel) const {
    return static_cast<const uint8_t*>(args_.weight) + panel * panel_bytes_;
  }
  const Dots::X* row_at(int64_t i) const { return rows_.numbers + i * rows_.stride; }

  /* Writes the columns of a panel from the sums of some rows. */
  void write_panel(int32_t* sums, int64_t panel, int64_t row, int64_t rows) const {
    const int64_t first = panel * kPanelRows, columns = min64(kPanelRows, args_.n - first);
    float scales[kPanelRows] = {};
    for (int64_t j = 0; j < columns; j++) scales[j] = args_.weight_scales[first + j];
    for (int64_t i = 0; i < rows; i++, sums += Dots::kSums) {
      Dots::finish(sums);
      const DigitRows& digits = rows_.digits;
      float* out = sums_of(args_) + digits.targets[row + i] * args_.out_stride + first;
      const Write how = args_.accumulate == 1 || row + i >= args_.m ? Write::kAdd
                        : is_streamed_                              ? Write::kStream
                                                                    : Write::kStore;
      write_row(out, sums, digits.offsets[row + i], digits.scales[row + i], scales, columns, how);
    }
  }

  const sx_matmul_params& args_;
  const RoundedRows& rows_;
  int64_t panel_bytes_, quads_;
  bool is_streamed_;
};

void multiply(Context& context, const sx_matmul_params& args, const RoundedRows& rows) {
  const Product product(args, rows);
  const int64_t panels = ceil_div(args.n, kPanelRows), bytes = panel_bytes(args.k);
  const Grain grain = rows.rows <= kFewInt8Rows ? Grain(kInt8ChunkBytes / bytes, row_grain(bytes))
                                                : Grain(Dots::kPanels);
  parallel_for(context, panels, grain,
               [&](int64_t begin, int64_t end, int32_t) { product.multiply_all(begin, end); });
}

}  // namespace

sx_status int8_product(Context& context, const sx_matmul_params& args) {
  if (args.m == 0 || args.n == 0) return SX_OK;
#ifdef SX_HAS_INT8_TILES
  if (args.m > kFewInt8Rows) return multiply_int8_by_tiles(context, args);
#endif
  const int64_t stride = panel_depth(args.k), heads = DigitRows::bytes(args.m);
  const int64_t bytes = heads + 2 * args.m * stride * static_cast<int64_t>(sizeof(Dots::X));
  char* memory = static_cast<char*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "matmul", bytes);
  const DigitRows digits(memory, args.m);
  Dots::X* numbers = reinterpret_cast<Dots::X*>(memory + heads);
  const int64_t rows = args.x_dtype == SX_F32 ? round_rows<float>(context, args, digits, numbers)
                                              : round_rows<bf16>(context, args, digits, numbers);
  multiply(context, args, {digits, numbers, stride, rows});
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
