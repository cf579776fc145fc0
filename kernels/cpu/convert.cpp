/*
 * Conversion between F32, BF16 and F16 (see sx_convert in ../sx_kernels.h), by way of f32, which
 * holds all three exactly. Rounds to nearest even. Bytes count * (sizeof(in) + sizeof(out)).
 */
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Elements per chunk; a multiple of every vector's lanes. */
constexpr int64_t kChunk = 16384;

template <class Out, class In>
void convert_range(Out* out, const In* in, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, load(in + i));
  if (i == count) return;
  /* The tail goes through buffers of one vector, so that nothing past the end is touched. */
  In last[kLanes] = {};
  Out rounded[kLanes];
  for (int64_t j = i; j < count; j++) last[j - i] = in[j];
  store(rounded, load(last));
  for (int64_t j = i; j < count; j++) out[j] = rounded[j - i];
}

template <class Out, class In>
void run(Context& context, const sx_convert_params& args) {
  parallel_for(context, ceil_div(args.count, kChunk), 1, [&](int64_t begin, int64_t end, int32_t) {
    const int64_t first = begin * kChunk;
    convert_range(static_cast<Out*>(args.out) + first, static_cast<const In*>(args.in) + first,
                  min64(end * kChunk, args.count) - first);
  });
}

template <class Out>
void run_from(Context& context, const sx_convert_params& args) {
  if (args.in_dtype == SX_F32) {
    run<Out, float>(context, args);
  } else if (args.in_dtype == SX_BF16) {
    run<Out, bf16>(context, args);
  } else {
    run<Out, f16>(context, args);
  }
}

}  // namespace

sx_status convert(Context& context, const sx_convert_params& args) {
  if (args.out_dtype == SX_F32) {
    run_from<float>(context, args);
  } else if (args.out_dtype == SX_BF16) {
    run_from<bf16>(context, args);
  } else {
    run_from<f16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
